//! The WSDL 1.1 document, generated from the table of operations.

use std::fmt::Write as _;

use super::NAMESPACE;
use super::codes::Code;
use super::operation::Operation;
use super::operations::OPERATIONS;
use crate::wire::escaped;

/// The WSDL of a service at `address`.
#[must_use]
pub fn wsdl(address: &str) -> String {
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
    let codes: String = Code::ALL.iter().fold(String::new(), |text, (_, word, _)| {
        text + &format!("<s:enumeration value=\"{word}\"/>")
    });
    let address = escaped(address);
    let transport = "transport=\"http://schemas.xmlsoap.org/soap/http\"";
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <wsdl:definitions xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" \
         xmlns:soap12=\"http://schemas.xmlsoap.org/wsdl/soap12/\" xmlns:s=\"http://www.w3.org/2001/XMLSchema\" xmlns:tns=\"{NAMESPACE}\" \
         targetNamespace=\"{NAMESPACE}\">\
         <wsdl:types><s:schema elementFormDefault=\"qualified\" targetNamespace=\"{NAMESPACE}\">{elements}\
         <s:complexType name=\"AccountIDResult\"><s:sequence>{RESULT}<s:element minOccurs=\"0\" maxOccurs=\"1\" name=\"Joson\" type=\"s:string\"/></s:sequence></s:complexType>\
         <s:complexType name=\"EmailResult\"><s:sequence>{RESULT}</s:sequence></s:complexType>\
         <s:simpleType name=\"ReturnCode\"><s:restriction base=\"s:string\">{codes}</s:restriction></s:simpleType>\
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

/// The elements with which every result begins.
const RESULT: &str = "<s:element minOccurs=\"1\" maxOccurs=\"1\" name=\"Code\" type=\"tns:ReturnCode\"/>\
                      <s:element minOccurs=\"0\" maxOccurs=\"1\" name=\"Message\" type=\"s:string\"/>";

fn describe_elements(elements: &mut String, operation: &Operation) {
    let name = operation.name;
    let children = operation.children.iter().fold(String::new(), |text, (child, kind)| {
        let (schema, least) = kind.schema();
        text + &format!("<s:element minOccurs=\"{least}\" maxOccurs=\"1\" name=\"{child}\" type=\"s:{schema}\"/>")
    });
    let result = if operation.is_by_id() {
        "AccountIDResult"
    } else {
        "EmailResult"
    };
    let _written = write!(
        elements,
        "<s:element name=\"{name}\"><s:complexType><s:sequence>{children}</s:sequence></s:complexType></s:element>\
         <s:element name=\"{name}Response\"><s:complexType><s:sequence>\
         <s:element minOccurs=\"0\" maxOccurs=\"1\" name=\"{name}Result\" type=\"tns:{result}\"/>\
         </s:sequence></s:complexType></s:element>"
    );
}
