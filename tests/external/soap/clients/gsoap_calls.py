"""Writes the part of gsoap_client.cpp that names the operations of a WSDL. usage: gsoap_calls.py WSDL > calls.inc"""
import sys
import xml.etree.ElementTree as xml

SCHEMA = "{http://www.w3.org/2001/XMLSchema}"
root = xml.parse(sys.argv[1]).getroot()
for element in root.find(f".//{SCHEMA}schema").findall(f"{SCHEMA}element"):
    name = element.get("name")
    if name.endswith("Response"):
        continue
    print(f'  if (operation == "{name}") {{')
    print(f"    _ns1__{name} request;")
    print(f"    _ns1__{name}Response response;")
    print("    request.soap_default(context);")
    print("    for (const auto &[member, text] : members) {")
    for child in element.iter(f"{SCHEMA}element"):
        if child is not element:
            print(f'      if (member == "{child.get("name")}") set(context, request.{child.get("name")}, text);')
    print("    }")
    print(f"    const int status = proxy.{name}(&request, response);")
    print(f"    return answer(context, status, response.{name}Result);")
    print("  }")
