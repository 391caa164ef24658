//! The WSDL and the help page.

use axum::http::Request;
use steward::dialects::soap;

use crate::harness::App;
use crate::harness::app::send;

#[tokio::test]
async fn the_wsdl_and_the_help_page_list_every_operation() {
    let app = App::new().await;
    let get = |path: &str| {
        let (router, request) = (
            app.router.clone(),
            Request::get(path).body(axum::body::Body::empty()).unwrap(),
        );
        async move { send(&router, request).await }
    };
    for path in [
        "/Services/Reseller/Service.asmx?wsdl",
        "/services/reseller/service.asmx?WSDL",
        "/SERVICES/RESELLER/SERVICE.ASMX?Wsdl",
    ] {
        let wsdl = get(path).await;
        assert_eq!(
            (wsdl.status.as_u16(), wsdl.header("content-type")),
            (200, "text/xml; charset=utf-8")
        );
        assert!(
            wsdl.body
                .contains("location=\"https://steward.example/Services/Reseller/Service.asmx\"")
        );
        for operation in soap::OPERATIONS {
            assert_eq!(
                wsdl.body
                    .matches(&format!("soapAction=\"Zoolz/{}\"", operation.name))
                    .count(),
                2,
                "{}",
                operation.name
            );
        }
        let words = "Success MissingParameters InvalidAuth InvalidEmail InvalidPassword UsedEmail PlanError GeneralError InvalidAccount PolicyError NoCredit InvalidLicence EmailNotConfirmed SqlNotAllowed NotAllowedLicenceAccount";
        let enumeration: String = words.split(' ').fold(String::new(), |text, word| {
            text + &format!("<s:enumeration value=\"{word}\"/>")
        });
        assert!(wsdl.body.contains(&enumeration));
    }
    // For resellers whose codes are numbers, which no enumeration of words has.
    let numbers = get(&format!("{}?codes=number&wsdl", soap::PATH)).await;
    assert_eq!(numbers.status, 200);
    let code = "<s:element minOccurs=\"1\" maxOccurs=\"1\" name=\"Code\" type=\"s:string\"/>";
    assert_eq!(
        numbers.body.matches(code).count(),
        3,
        "of each type of result"
    );
    assert!(!numbers.body.contains("ReturnCode"));
    let words = get(&format!("{}?wsdl&codes=Word", soap::PATH)).await;
    assert_eq!(
        words.body,
        get("/Services/Reseller/Service.asmx?wsdl").await.body
    );
    let refused = get(&format!("{}?wsdl&codes=roman", soap::PATH)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.body.as_str()),
        (400, "codes must be word or number\n")
    );
    let index = get(soap::PATH).await;
    for operation in soap::OPERATIONS {
        assert!(index.body.contains(&format!("?op={}", operation.name)));
        let page = get(&format!("{}?op={}", soap::PATH, operation.name)).await;
        assert!(
            page.status.as_u16() == 200
                && page
                    .body
                    .contains(&format!("&lt;{}Response", operation.name))
        );
    }
    assert_eq!(
        get(&format!("{}?op=Explode", soap::PATH))
            .await
            .status
            .as_u16(),
        404
    );
    let put = Request::put(soap::PATH)
        .body(axum::body::Body::empty())
        .unwrap();
    let refused = send(&app.router, put).await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("allow")),
        (405, "GET, HEAD, POST")
    );
}
