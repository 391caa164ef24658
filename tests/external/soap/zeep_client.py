"""zeep as a client of the SOAP service. usage: zeep_client.py WSDL TOKEN FOREIGN_ACCOUNT_ID"""
import datetime
import json
import sys

import zeep
from lxml import etree

wsdl, token, foreign = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = zeep.Client(wsdl)
passed = failed = 0


def check(binding, operation, what, is_so, seen):
    global passed, failed
    passed, failed = passed + bool(is_so), failed + (not is_so)
    if not is_so:
        print(f"zeep {binding} {operation}: {what}: {seen}")


for binding in ("ServiceSoap", "ServiceSoap12"):
    port = client.bind("Service", binding)

    def call(operation, code, message, *arguments):
        result = getattr(port, operation)(token, *arguments)
        check(binding, operation, "code", result.Code == code, result)
        if message is not None:
            check(binding, operation, "message", result.Message == message, result)
        check(binding, operation, "Joson", hasattr(result, "Joson") == operation.endswith("UsingAccountID"), result)
        return result

    email, second = f"zeep-{binding}@example.com", f"zeep-{binding}-2@example.com"
    created = "The Account has been created successfully"
    call("CreateAccount", "Success", created, "Zeep", email, "secret", 1, False)
    call("CreateAccount", "Success", created, "Zeep", second, "secret", 1, True)
    call("CreateAccount", "UsedEmail", None, "Zeep", email, "secret", 1, False)
    info = json.loads(call("GetAccountInfo", "Success", None, email).Message)
    account = info["AccountID"]
    check(binding, "GetAccountInfo", "email", info["Email"] == email, info)
    both = call("GetAccountInfoUsingAccountID", "Success", None, account)
    check(binding, "GetAccountInfoUsingAccountID", "Joson is Message", both.Joson == both.Message, both)
    date = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    for suffix, who in (("UsingAccountID", account), ("", email)):
        call(f"SuspendAccount{suffix}", "Success", "The account has been suspended", who)
        call(f"ActivateAccount{suffix}", "Success", "The account has been activated", who)
        call(f"ChangeAccountExpiryDate{suffix}", "Success", "The Account Expiry Date has been updated", who, date)
    call("FreezeAccountUsingAccountID", "Success", "The account has been frozen", account, "https://pay.example/?a=1&b=2")
    seen = json.loads(call("GetAccountInfo", "Success", None, email).Message)
    check(binding, "FreezeAccountUsingAccountID", "state", (seen["EffectiveStatus"], seen["PaymentUrl"]) == ("frozen", "https://pay.example/?a=1&b=2"), seen)
    check(binding, "ChangeAccountExpiryDate", "date", seen["ExpiryDate"] == "2031-02-03T04:05:06Z", seen)
    call("UnfreezeAccountUsingAccountID", "Success", "The account has been unfrozen", account)
    call("UpdateAccountStatusUsingAccountID", "Success", "The account status has been updated", account, "inactive")
    call("SuspendAccountUsingAccountID", "InvalidAccount", "Invalid Account ID or Account ID does not exist", 2000000000)
    call("SuspendAccountUsingAccountID", "InvalidAccount", "Invalid Account ID, Account ID does not belong to you", foreign)
    call("SuspendAccount", "InvalidEmail", "Invalid Email or Email does not exist", "nobody@example.com")
    refused = port.SuspendAccountUsingAccountID("wrong", account)
    check(binding, "SuspendAccountUsingAccountID", "token", (refused.Code, refused.Message) == ("InvalidAuth", "Invalid Authentication Token"), refused)
    namespace = "http://www.w3.org/2003/05/soap-envelope" if binding.endswith("12") else "http://schemas.xmlsoap.org/soap/envelope/"
    block = etree.Element("{urn:x}Security", {f"{{{namespace}}}mustUnderstand": "1"})
    try:
        port.SuspendAccountUsingAccountID(token, account, _soapheaders=[block])
        check(binding, "fault", "mustUnderstand", False, "no fault")
    except zeep.exceptions.Fault as fault:
        check(binding, "fault", "mustUnderstand", "MustUnderstand" in str(fault.code), fault.code)
    call("DeleteAccountUsingAccountID", "Success", "The account has been Deleted", account)
    call("DeleteAccount", "Success", "The account has been Deleted", second)
    print(f"zeep {binding}: 14 operations")

print(f"zeep: {passed} passed, {failed} failed")
sys.exit(failed > 0)
