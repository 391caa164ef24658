"""Calls every operation with every client, in each of its SOAP versions, and prints which passed.
usage: walk.py WORK_FOLDER BASE_URL TOKEN FOREIGN_ACCOUNT_ID TOKEN_OF_A_RESELLER_WITH_NUMBERS"""
import collections
import json
import re
import sys
import urllib.request

from caller import Caller, clients

work, base, token, foreign, numbers_token = sys.argv[1:]
here = sys.path[0]
endpoint = base + "/Services/Reseller/Service.asmx"
wsdl = endpoint + "?wsdl"
document = urllib.request.urlopen(wsdl).read().decode()
operations = list(dict.fromkeys(re.findall(r'soapAction="Zoolz/(\w+)"', document)))
untyped = ["node-soap", "SOAP::Lite"]
with_headers = ["zeep", "PHP", "node-soap", "SOAP::Lite"]
results = collections.defaultdict(lambda: collections.defaultdict(list))
failures = []

JOSON = ("UsingAccountID", "ToggleNetworkDrive")
JSON = ("GetPlan", "CreatePlan", "GetAccountInfoBy")


def detail_of(operation):
    if operation.endswith(JOSON):
        return "Joson"
    return "JSON" if operation.startswith(JSON) else None


class Walk:
    def __init__(self, client, command, version):
        self.name = f"{client} {version}"
        self.caller = Caller(command, wsdl, version, endpoint)

    def check(self, operation, what, is_so, seen):
        results[operation][self.name].append(bool(is_so))
        if not is_so:
            failures.append(f"{self.name} {operation}: {what}: {seen}")

    def call(self, operation, code, message=None, **members):
        answer = self.caller.call(operation, **{"authToken": token, **members})
        self.check(operation, "code", answer.get("Code") == code, answer)
        if message is not None:
            self.check(operation, "message", answer.get("Message") == message, answer)
        found = next((name for name in ("Joson", "JSON") if name in answer), None)
        self.check(operation, "document", found == detail_of(operation), answer)
        return answer

    def info(self, operation, expected, element="Message", **members):
        answer = self.call(operation, "Success", **members)
        try:
            seen = json.loads(answer[element])
        except (KeyError, ValueError):
            seen = {}
        self.check(operation, "document", {name: seen.get(name) for name in expected} == expected, answer)
        return seen


def walk(client, command, version):
    this = Walk(client, command, version)
    call, info = this.call, this.info
    # ISO-8859-1 has all of these letters.
    person = "Zo\u00eb M\u00fcller-Stra\u00dfe & S\u00f8n <\u00c5>"
    tag = re.sub(r"\W", "-", this.name)
    email, second = f"{tag}@example.com", f"{tag}-2@example.com"
    created = "The Account has been created successfully"

    plan = call("CreatePlan", "Success", "The Plan has been created successfully", planName=f"Plan {tag}", instantStorageGB=50, coldStorageGB=0, users=5, servers=0, type=0, frequency=2)
    plan = json.loads(plan["JSON"])["ID"]
    info("GetPlanInfo", {"PlanID": plan, "PlanName": f"Plan {tag}", "Users": 5, "Capacity": 50, "PlanFrequency": "Monthly"}, planID=plan)
    call("GetPlanInfo", "PlanError", "Plan Error, Plan does not exist", planID=2000000000)
    all_plans = json.loads(call("GetPlansInfo", "Success")["JSON"])
    this.check("GetPlansInfo", "the new plan", plan in [one["ID"] for one in all_plans], all_plans)

    account = {"name": person, "password": "secret", "planID": plan, "sendEmail": "false"}
    call("CreateAccount", "Success", created, **{**account, "email": email, "companyName": "S\u00f8n A/S"})
    call("CreateAccount", "Success", created, **{**account, "email": second, "password": "", "planID": 0, "sendEmail": "true"})
    call("CreateAccount", "UsedEmail", "Used Email, Someone already has that email", **account, email=email)
    call("CreateAccount", "PlanError", "The specified plan id does not exist", **{**account, "email": f"x{tag}@example.com", "planID": 2000000000})
    call("CreateAccount", "InvalidPassword", "Invalid Password, Minimum 6 characters", **{**account, "email": f"x{tag}@example.com", "password": "12345"})
    more = {"Language": 3}
    for name, member, value in [("Language", "Language", 3), ("NetworkDrive", "enableNetworkDrive", "true"), ("ComputersLimit", "computersLimit", 4)]:
        more[member] = value
        call(f"CreateAccountWith{name}", "Success", created, **account, email=f"{tag}-{name}@example.com", **more)

    known = {"Email": email, "Name": person, "Company": "S\u00f8n A/S", "PlanID": plan, "Capacity": 50, "UsedSpace": 0, "RegEndDate": "", "LastActivity": ""}
    number = info("GetAccountInfo", known, email=email).get("AccountID")
    info("GetAccountInfoUsingAccountID", known, "Joson", accountID=number)
    info("GetAccountInfoByID", known, "JSON", accountID=number)
    info("GetAccountInfoByEmail", known, "JSON", email=email)
    info("GetAccountInfo", {"PlanID": 0, "Capacity": 0}, email=second)
    wrong = "Invalid password, please check password"
    call("GetAccountInfoUsingEmailAndPass", "InvalidPassword", wrong, email=email, password="secret")
    call("GetAccountInfoByEmailAndPass", "InvalidPassword", wrong, email=email, password="secret")
    call("ResetPassword", "GeneralError", "General Error. Failed to reset password: passwords are not kept by this service", email=email, password="secret2")
    call("ToggleNetworkDrive", "GeneralError", "General Error. Failed to toggle network drive: network drives do not exist in this service", accountID=number, isEnabled="true")

    for suffix, who in (("UsingAccountID", {"accountID": number}), ("", {"email": email})):
        call(f"SuspendAccount{suffix}", "Success", "The account has been suspended", **who)
        info("GetAccountInfo", {"EffectiveStatus": "suspended:reseller"}, email=email)
        call(f"ActivateAccount{suffix}", "Success", "The account has been activated", **who)
        call(f"ChangeAccountExpiryDate{suffix}", "Success", "The Account Expiry Date has been updated", **who, expiryDate="2031-02-03T04:05:06Z")
        call(f"UpgradeAccount{suffix}", "Success", "The account has been upgraded successfully", **who, planID=plan)
        call(f"UpgradeAccount{suffix}", "PlanError", "The specified plan id does not exist", **who, planID=0)
    info("GetAccountInfo", {"RegEndDate": "2031-02-03T04:05:06Z", "EffectiveStatus": "active"}, email=email)
    url = "https://pay.example/?a=1&b=2"
    call("FreezeAccountUsingAccountID", "Success", "The account has been frozen", accountID=number, paymentUrl=url)
    info("GetAccountInfo", {"EffectiveStatus": "frozen", "PaymentUrl": url}, email=email)
    call("UnfreezeAccountUsingAccountID", "Success", "The account has been unfrozen", accountID=number)
    call("UpdateAccountStatusUsingAccountID", "Success", "The account status has been updated", accountID=number, status="inactive")

    call("SuspendAccountUsingAccountID", "InvalidAccount", "Invalid Account ID or Account ID does not exist", accountID=2000000000)
    call("SuspendAccountUsingAccountID", "InvalidAccount", "Invalid Account ID, Account ID does not belong to you", accountID=foreign)
    call("SuspendAccount", "InvalidEmail", "Invalid Email or Email does not exist", email="nobody@example.com")
    call("SuspendAccountUsingAccountID", "InvalidAuth", "Invalid Authentication Token", authToken="wrong", accountID=number)
    if client in with_headers:
        fault = this.caller.call("SuspendAccountUsingAccountID", authToken=token, accountID=number, **{"@mustUnderstand": 1}).get("fault", "")
        this.check("SuspendAccountUsingAccountID", "mustUnderstand", "must be understood" in fault or "MustUnderstand" in fault, fault)
    if client in untyped:
        fault = this.caller.call("SuspendAccountUsingAccountID", authToken=token, accountID="x").get("fault", "")
        this.check("SuspendAccountUsingAccountID", "type", "accountID must be an int" in fault, fault)
    call("DeleteAccountUsingAccountID", "Success", "The account has been Deleted", accountID=number)
    call("DeleteAccount", "Success", "The account has been Deleted", email=second)
    this.caller.close()
    return this.name


def numbers(client, command, version):
    """A reseller whose codes are numbers, with the WSDL for it."""
    this = Caller(command, wsdl + "&codes=number", version, endpoint)
    unknown = this.call("SuspendAccountUsingAccountID", authToken=numbers_token, accountID=2000000000)
    plans = this.call("GetPlansInfo", authToken=numbers_token)
    this.close()
    seen = (unknown.get("Code"), plans.get("Code"))
    if seen != ("1008", "1000"):
        failures.append(f"{client} {version} with codes=number: {unknown} {plans}")
    return seen == ("1008", "1000")


names, counted = [], []
for client, (command, versions) in clients(work, here).items():
    for version in versions:
        names.append(walk(client, command, version))
        typed = [[f"{work}/gsoap-numbers/gsoap_client"]] if client == "gSOAP" else command
        counted.append(numbers(client, typed, version))

width = max(map(len, operations))
print(" " * width, *names, sep="  ")
for operation in operations:
    cells = []
    for name in names:
        seen = results[operation][name]
        if not seen:
            failures.append(f"{name} {operation}: not called")
        cells.append(f"{'pass' if seen and all(seen) else 'FAIL':<{len(name)}}")
    print(f"{operation:<{width}}", *cells, sep="  ")
print(f"{'codes as numbers':<{width}}", *(f"{'pass' if ok else 'FAIL':<{len(name)}}" for ok, name in zip(counted, names)), sep="  ")
checks = sum(len(seen) for row in results.values() for seen in row.values())
print(f"soap: {len(operations)} operations, {len(names)} clients and versions, {checks} checks, {len(failures)} failed")
for failure in failures:
    print(failure)
sys.exit(bool(failures))
