//! The WSDL 1.1 document, generated from the table of operations.

use std::fmt::Write as _;

use super::NAMESPACE;
use super::codes::{Code, Detail};
use super::operation::Operation;
use super::operations::OPERATIONS;
use crate::wire::escaped;

/// How a reseller's result codes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeStyle {
    /// `Success`: a word of the enumeration.
    Word,
    /// `1000`: its number. Typed clients refuse it where the WSDL has the enumeration.
    Number,
}

impl CodeStyle {
    /// Reads `word` or `number`, in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [("word", Self::Word), ("number", Self::Number)]
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, style)| style)
    }
}

/// The WSDL of a service at `address`, for resellers with this style of codes.
#[must_use]
pub fn wsdl(address: &str, codes: CodeStyle) -> String {
    let mut elements = String::new();
    let mut messages = String::new();
    let mut operations = String::new();
    let (mut soap, mut soap12) = (String::new(), String::new());
    for operation in OPERATIONS {
        let name = operation.name;
        describe_elements(&mut elements, operation);
        // Writing to a `String` cannot fail.
        let _written = write!(
            messages,
            "<wsdl:message name=\"{name}SoapIn\"><wsdl:part name=\"parameters\" element=\"tns:{name}\"/></wsdl:message>\
             <wsdl:message name=\"{name}SoapOut\"><wsdl:part name=\"parameters\" element=\"tns:{name}Response\"/></wsdl:message>"
        );
        let _written = write!(
            operations,
            "<wsdl:operation name=\"{name}\"><wsdl:input message=\"tns:{name}SoapIn\"/><wsdl:output message=\"tns:{name}SoapOut\"/></wsdl:operation>"
        );
        for (binding, prefix) in [(&mut soap, "soap"), (&mut soap12, "soap12")] {
            let _written = write!(
                binding,
                "<wsdl:operation name=\"{name}\"><{prefix}:operation soapAction=\"{NAMESPACE}/{name}\" style=\"document\"/>\
                 <wsdl:input><{prefix}:body use=\"literal\"/></wsdl:input><wsdl:output><{prefix}:body use=\"literal\"/></wsdl:output></wsdl:operation>"
            );
        }
    }
    let (code_type, code) = describe_code(codes);
    let types = [
        ("AccountIDResult", Detail::Joson),
        ("EmailResult", Detail::None),
        ("JSONResult", Detail::Json),
    ];
    let types = types.map(|(name, detail)| describe_result(name, detail, code));
    let types = types.concat();
    let address = escaped(address);
    let transport = "transport=\"http://schemas.xmlsoap.org/soap/http\"";
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <wsdl:definitions xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" \
         xmlns:soap12=\"http://schemas.xmlsoap.org/wsdl/soap12/\" xmlns:s=\"http://www.w3.org/2001/XMLSchema\" xmlns:tns=\"{NAMESPACE}\" \
         targetNamespace=\"{NAMESPACE}\">\
         <wsdl:types><s:schema elementFormDefault=\"qualified\" targetNamespace=\"{NAMESPACE}\">{elements}\
         {types}{code_type}\
         </s:schema></wsdl:types>{messages}\
         <wsdl:portType name=\"ServiceSoap\">{operations}</wsdl:portType>\
         <wsdl:binding name=\"ServiceSoap\" type=\"tns:ServiceSoap\"><soap:binding {transport}/>{soap}</wsdl:binding>\
         <wsdl:binding name=\"ServiceSoap12\" type=\"tns:ServiceSoap\"><soap12:binding {transport}/>{soap12}</wsdl:binding>\
         <wsdl:service name=\"Service\">\
         <wsdl:port name=\"ServiceSoap\" binding=\"tns:ServiceSoap\"><soap:address location=\"{address}\"/></wsdl:port>\
         <wsdl:port name=\"ServiceSoap12\" binding=\"tns:ServiceSoap12\"><soap12:address location=\"{address}\"/></wsdl:port>\
         </wsdl:service></wsdl:definitions>"
    )
}

/// The type of codes, if it is one of ours, and its name.
fn describe_code(style: CodeStyle) -> (String, &'static str) {
    match style {
        CodeStyle::Word => {
            let words = Code::ALL.iter().fold(String::new(), |text, (_, word, _)| {
                text + &format!("<s:enumeration value=\"{word}\"/>")
            });
            let restriction = format!("<s:restriction base=\"s:string\">{words}</s:restriction>");
            (
                format!("<s:simpleType name=\"ReturnCode\">{restriction}</s:simpleType>"),
                "tns:ReturnCode",
            )
        }
        CodeStyle::Number => (String::new(), "s:string"),
    }
}

/// The type of a result.
fn describe_result(name: &str, detail: Detail, code: &str) -> String {
    let text = |name: &str| {
        format!("<s:element minOccurs=\"0\" maxOccurs=\"1\" name=\"{name}\" type=\"s:string\"/>")
    };
    let message = text("Message");
    let document = detail.element().map_or_else(String::new, text);
    format!(
        "<s:complexType name=\"{name}\"><s:sequence>\
         <s:element minOccurs=\"1\" maxOccurs=\"1\" name=\"Code\" type=\"{code}\"/>{message}{document}\
         </s:sequence></s:complexType>"
    )
}

fn describe_elements(elements: &mut String, operation: &Operation) {
    let name = operation.name;
    let children = operation.children.iter().fold(String::new(), |text, (child, kind)| {
        let (schema, least) = kind.schema();
        text + &format!("<s:element minOccurs=\"{least}\" maxOccurs=\"1\" name=\"{child}\" type=\"s:{schema}\"/>")
    });
    let result = match operation.wording.detail {
        Detail::Joson => "AccountIDResult",
        Detail::None => "EmailResult",
        Detail::Json => "JSONResult",
    };
    let _written = write!(
        elements,
        "<s:element name=\"{name}\"><s:complexType><s:sequence>{children}</s:sequence></s:complexType></s:element>\
         <s:element name=\"{name}Response\"><s:complexType><s:sequence>\
         <s:element minOccurs=\"0\" maxOccurs=\"1\" name=\"{name}Result\" type=\"tns:{result}\"/>\
         </s:sequence></s:complexType></s:element>"
    );
}
