"""Moves the reseller of export.py to a running service and lets its clients work there.
usage: move.py WORK_FOLDER BASE_URL PATH_TO_STEWARD

The clients get another base URL and another token, and nothing else changes for them. What is printed is the example in
docs/migrating.md, and must be there word for word."""
import html
import json
import pathlib
import re
import subprocess
import sys
import urllib.request

here = pathlib.Path(__file__).parent
soap = here.parent / "soap"
sys.path[:0] = [str(soap), str(here)]
import export  # noqa: E402
from caller import Caller, clients  # noqa: E402

work, base, steward = sys.argv[1:]
endpoint = base + "/Services/Reseller/Service.asmx"
RESELLER = "Backup Resale"
transcript = []
checks = 0


def say(text):
    transcript.append(text)
    print(text, flush=True)


def check(what, seen, expected):
    global checks
    checks += 1
    if seen != expected:
        raise SystemExit(f"move: {what}: {seen!r}, not {expected!r}")


def run(arguments, shown=True, code=0):
    words = [f'"{word}"' if " " in word else word for word in arguments]
    done = subprocess.run([steward, *arguments], cwd=work, capture_output=True, text=True)
    check(f"the exit code of steward {' '.join(words)}: {done.stdout}{done.stderr}", done.returncode, code)
    if shown:
        say(f"$ steward {' '.join(words)}")
        # The line about the PostgreSQL server is another one on each machine.
        say(re.sub(r"(?m)^ok +server .*\n", "", done.stdout.rstrip()))
    return done.stdout


def request(method, path, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers, method=method)) as answer:
        return json.load(answer)


def accounts_here():
    listed = run(["account", "list", "--reseller", RESELLER, "--limit", "0", "--json"], shown=False)
    return {account["id"]: account for account in json.loads(listed)}


# --- The move: plans, accounts, token.
run(["reseller", "create", "--name", RESELLER], shown=False)
run(["reseller", "update", RESELLER, "--timezone", "Europe/Berlin"], shown=False)
token = json.loads(run(["token", "create", "--reseller", RESELLER, "--json"], shown=False))["token"]
exported = {row["number"]: row for row in export.accounts()}
with open(f"{work}/accounts.csv", "w", encoding="utf-8") as file:
    subprocess.run([sys.executable, here / "export.py"], stdout=file, check=True)
for number, space in zip(export.PLANS, (50, 500, 2000)):
    plan = request("POST", "/v3/plans", {"name": f"Backup {space}", "number": number, "allowedProductSpace": space})
    check("the number of the plan", plan["number"], number)
run(["account", "import", "--reseller", RESELLER, "accounts.csv", "--dry-run"])
run(["account", "import", "--reseller", RESELLER, "accounts.csv"])
run(["account", "import", "--reseller", RESELLER, "accounts.csv"])

# --- What is here is what was exported. Dates are meant in Berlin: an expiry is the day's last second there.
here_now = accounts_here()
check("the numbers", sorted(here_now), sorted(exported))
states = {}
for number, row in exported.items():
    account = here_now[number]
    expires = row["expires_at"]
    winter = expires[5:7] in ("11", "12", "01", "02") or (expires[5:7] == "03" and expires[8:] < "25")
    at = expires and f"{expires}T{'22' if winter else '21'}:59:59Z"
    state = "suspended:reseller" if row["suspend_reason"] else "frozen" if row["freeze_reason"] else "active"
    if expires and expires < "2026":
        state = "expired"
    states[number] = state
    seen = (account["email"], account["expires_at"] or "", account["effective_status"])
    check(f"account {number}", seen, (row["email"], at, state))
for state in ("active", "suspended:reseller", "frozen", "expired"):
    say(f"{state}: {sum(1 for one in states.values() if one == state)}")

# --- The clients, by the numbers and addresses that they know.
callers = {}
for client, (command, versions) in clients(work, soap).items():
    for version in versions:
        callers[f"{client} {version}"] = Caller(command, endpoint + "?wsdl", version, endpoint)


def call(name, operation, /, **members):
    return callers[name].call(operation, authToken=token, **members)


def info(name, number):
    return callers[name].info("GetAccountInfoUsingAccountID", authToken=token, accountID=number)


def expect(name, operation, code, message, /, **members):
    answer = call(name, operation, **members)
    check(f"{name} {operation} {members}", (answer.get("Code"), answer.get("Message")), (code, message))


def activate(name, number, state, why):
    """A success, after which the account is in this state."""
    expect(name, "ActivateAccountUsingAccountID", "Success", "The account has been activated", accountID=number)
    check(f"{number} after the activation", info(name, number)["EffectiveStatus"], state)
    say(f"{name}: ActivateAccountUsingAccountID {number}: Success. It is {state}, and was {why}.")


special = [*export.SUSPENDED, *export.FROZEN, *[number for number in sorted(exported) if states[number] == "expired"][:20]]
sample = special + sorted(exported)[::200]
for name in callers:
    for number in sample:
        row, seen = exported[number], info(name, number)
        expected = (number, row["email"], row["name"], row["plan"], states[number], here_now[number]["expires_at"] or "")
        if "Latin-1" in name:
            # PHP writes letters that ISO-8859-1 does not have as references.
            seen["Name"] = html.unescape(seen["Name"])
        found = tuple(seen.get(member) for member in ("AccountID", "Email", "Name", "PlanID", "EffectiveStatus", "RegEndDate"))
        check(f"{name} {number}", found, expected)
        check(f"{name} {number}", seen["PaymentUrl"], export.FROZEN.get(number))
say(f"{len(callers)} clients read {len(sample)} accounts each as the export has them")

for name, number in zip(("zeep 1.2", "PHP 1.1", "gSOAP 1.2"), export.SUSPENDED):
    activate(name, number, "active", "suspended")
for name, number in zip(("SOAP::Lite 1.1", "node-soap 1.2"), export.FROZEN):
    activate(name, number, "frozen", "frozen")
expired = [number for number in sorted(exported) if states[number] == "expired"]
activate("zeep 1.1", expired[0], "expired", "expired")
for name, number in zip(callers, expired):
    done = call(name, "ChangeAccountExpiryDateUsingAccountID", accountID=number, expiryDate="2035-01-31T12:00:00Z")
    check(name, done["Code"], "Success")
    seen = info(name, number)
    check(name, (seen["EffectiveStatus"], seen["RegEndDate"]), ("active", "2035-01-31T12:00:00Z"))
    email = exported[number]["email"]
    for operation, state in (("SuspendAccount", "suspended:reseller"), ("ActivateAccount", "active")):
        check(name, call(name, operation, email=email)["Code"], "Success")
        check(name, info(name, number)["EffectiveStatus"], state)
    check(name, call(name, "UpgradeAccount", email=email, planID=1535)["Code"], "Success")
    check(name, (info(name, number)["PlanID"], info(name, number)["Capacity"]), (1535, 2000))
say(f"{len(callers)} clients extended, suspended, activated and upgraded an expired account each")
taken = exported[40_007]["email"]
expect("PHP 1.2", "CreateAccount", "UsedEmail", "Used Email, Someone already has that email", name="x", email=taken, password="", planID=331, sendEmail="true")
expect("PHP 1.2", "CreateAccount", "Success", "The Account has been created successfully", name="New", email="new@backup.example", password="", planID=331, sendEmail="true")
new = callers["PHP 1.2"].info("GetAccountInfo", authToken=token, email="new@backup.example")
check("the number of the new account is a new one", new["AccountID"] in exported, False)
say("PHP 1.2: CreateAccount: Success. Its number is one that no exported account has.")
for caller in callers.values():
    caller.close()

# --- Nothing else has changed.
changed = {*export.SUSPENDED, *expired[: len(callers)]}
for number, account in accounts_here().items():
    if number in exported and number not in changed:
        check(f"account {number} in the end", account["effective_status"], states[number])
run(["doctor"])

document = (here / "../../../docs/migrating.md").read_text()
for part in "\n".join(transcript).splitlines():
    if part not in document:
        sys.exit(f"move: docs/migrating.md has no line {part!r}")
print(f"move: {len(exported)} accounts, {len(callers)} clients and versions, {checks} checks passed")
