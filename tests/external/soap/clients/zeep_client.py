"""zeep (Python). See README.md."""
import datetime
import sys

import zeep
from lxml import etree

wsdl, version, endpoint = sys.argv[1:]
client = zeep.Client(wsdl)
service = client.create_service("{Zoolz}ServiceSoap" + ("12" if version == "1.2" else ""), endpoint)
namespace = "http://www.w3.org/2003/05/soap-envelope" if version == "1.2" else "http://schemas.xmlsoap.org/soap/envelope/"


def read(text):
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")


def written(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


for line in sys.stdin:
    operation, *pairs = line.rstrip("\n").split("\t")
    members = {name: read(value) for name, value in (pair.split("=", 1) for pair in pairs)}
    header = members.pop("@mustUnderstand", None)
    headers = [etree.Element("{urn:x}Security", {f"{{{namespace}}}mustUnderstand": "1"})] if header else None
    if "expiryDate" in members:
        members["expiryDate"] = datetime.datetime.fromisoformat(members["expiryDate"].replace("Z", "+00:00"))
    try:
        result = getattr(service, operation)(**members, _soapheaders=headers)
        answer = {name: getattr(result, name) for name in ("Code", "Message", "Joson", "JSON") if hasattr(result, name)}
    except (zeep.exceptions.Error, TypeError) as error:
        answer = {"fault": f"{getattr(error, 'code', '')} {error}"}
    print("\t".join(f"{name}={written(value or '')}" for name, value in answer.items()), flush=True)
