"""Every call of cryptlex-python-sdk on accounts, plans, webhooks, event logs and tokens, as published: only the base URL and
the token are Steward's. Prints a line for each call, with what was sent and what the SDK's own classes read back."""

import base64
import datetime
import hashlib
import hmac
import importlib
import json
import pkgutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue

from cryptlex_web_api_client import AuthenticatedClient, models
from cryptlex_web_api_client.models.account_status_request_model import AccountStatusRequestModel
from cryptlex_web_api_client.models.account_status_request_model_status import AccountStatusRequestModelStatus
from cryptlex_web_api_client.models.account_update_request_model import AccountUpdateRequestModel
from cryptlex_web_api_client.models.me_update_request_model import MeUpdateRequestModel
from cryptlex_web_api_client.models.personal_access_token_revoke_request_model import PersonalAccessTokenRevokeRequestModel
from cryptlex_web_api_client.models.plan_update_request_model import PlanUpdateRequestModel
from cryptlex_web_api_client.models.postv_3_accounts_json_body import Postv3AccountsJsonBody
from cryptlex_web_api_client.models.postv_3_personal_access_tokens_json_body import Postv3PersonalAccessTokensJsonBody
from cryptlex_web_api_client.models.postv_3_webhooks_json_body import Postv3WebhooksJsonBody
from cryptlex_web_api_client.models.webhook_request_model import WebhookRequestModel
from cryptlex_web_api_client.types import Unset

url, token = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token, timeout=30.0)
TAGS = ["accounts", "plans", "webhooks", "event_logs", "personal_access_tokens"]
called = {}


def shown(value):
    text = json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."


def call(tag, name, expected, *path, **arguments):
    """Makes a call, and checks its status. The SDK raises if its classes cannot read the answer."""
    module = importlib.import_module(f"cryptlex_web_api_client.api.{tag}.{name}")
    answer = module.sync_detailed(*path, client=client, **arguments)
    assert answer.status_code == expected, (tag, name, answer.status_code, answer.content)
    called.setdefault((tag, name), 0)
    called[tag, name] += 1
    sent = {key: value.to_dict() if hasattr(value, "to_dict") else value for key, value in arguments.items()}
    read = answer.parsed
    if isinstance(read, list):
        read = [type(item).__name__ for item in read]
    elif read is not None:
        read = type(read).__name__
    else:
        read = (json.loads(answer.content)["message"] if answer.content else "nothing")
    print(f"ok  {tag}.{name}{list(path) or ''} sent {shown(sent)} -> {answer.status_code} {shown(read)}")
    return answer


def full(value):
    """Checks that every member of a class has a value, and not null."""
    for name in vars(value):
        member = getattr(value, name)
        assert not isinstance(member, Unset) or name in ("custom_domain", "user", "last_login_at"), (value, name)
        if name != "expires_at":
            assert member is not None, (value, name)


def body(kind, **members):
    return kind.from_dict(members)


# Accounts. A Cryptlex account is made with its first user.
new = body(Postv3AccountsJsonBody, firstName="Jo", lastName="Doe", email="jo@example.com", password="secret-1", company="Jo & Co", companyId="jo")
made = call("accounts", "postv3accounts", 201, json_body=new)
assert made.headers["ignored-members"] == "firstName, lastName, password", made.headers
account = made.parsed
full(account)
full(account.plan)
assert account.trial_expires_at == account.created_at and account.plan.name == "none"
call("accounts", "postv3accounts", 409, json_body=new)
call("accounts", "postv3accounts", 400, json_body=body(Postv3AccountsJsonBody, email="nonsense"))
read = call("accounts", "getv3accountsid", 200, account.id).parsed
assert read.to_dict() == {name: value for name, value in account.to_dict().items() if name != "user"}
missing = call("accounts", "getv3accountsid", 404, "00000000-0000-0000-0000-000000000000").parsed
assert missing.code == "ACCOUNT_NOT_FOUND", missing
# What was read is sent back.
same = AccountUpdateRequestModel.from_dict(read.to_dict())
answer = call("accounts", "patchv3accountsid", 200, account.id, json_body=same)
assert answer.headers["steward-changed"] == "false", answer.headers
answer = call("accounts", "patchv3accountsid", 200, account.id, json_body=body(AccountUpdateRequestModel, website="https://jo.example", customDomain="x.example"))
assert answer.parsed.website == "https://jo.example" and answer.headers["ignored-members"] == "customDomain"
answer = call("accounts", "patchv3accountsid", 200, account.id, json_body=body(AccountUpdateRequestModel, website=""))
assert answer.parsed.website == "" and answer.headers["steward-changed"] == "true"
for status in AccountStatusRequestModelStatus:
    answer = call("accounts", "putv3accountsidstatus", 200, account.id, json_body=AccountStatusRequestModel(status=status))
    full(answer.parsed)
    assert answer.parsed.status.value == status.value

# Plans. Cryptlex's clients only read them; the operator's panel makes them.
import httpx  # noqa: E402  the SDK has no call that makes a plan

plan_id = httpx.post(f"{url}/v3/plans", json={"name": "pro", "allowedUsers": 5}, headers=client.get_headers()).json()["id"]
plans = call("plans", "getv3plans", 200, page=1, limit=10, sort="name").parsed
assert [plan.id for plan in plans] == [plan_id]
full(plans[0])
full(call("plans", "getv3plansid", 200, plan_id).parsed)
none = call("plans", "getv3plansid", 200, account.plan.id).parsed
assert none == account.plan
call("plans", "getv3plansid", 404, "00000000-0000-4000-8000-000000000000")
answer = call("accounts", "putv3accountsidplan", 200, account.id, json_body=PlanUpdateRequestModel(plan_id=plan_id))
assert answer.parsed.plan.id == plan_id and answer.parsed.plan.allowed_users == 5
answer = call("accounts", "putv3accountsidplan", 200, account.id, json_body=PlanUpdateRequestModel(plan_id=none.id))
assert answer.parsed.plan == none

# What Steward does not offer answers with a reason, and never 405 or 500.
for name, path, arguments in [
    ("postv3accountslogin", (), {"json_body": models.Postv3AccountsloginJsonBody.from_dict({"email": "jo@example.com", "password": "x"})}),
    ("postv3accountslogin_google", (), {"json_body": models.Postv3AccountsloginGoogleJsonBody.from_dict({"idToken": "x"})}),
    ("postv3accountsreset_password_request", (), {"json_body": models.Postv3AccountsresetPasswordRequestJsonBody.from_dict({"email": "jo@example.com"})}),
    ("postv3accountsloginsamlverify", (), {"json_body": models.Postv3AccountsloginsamlverifyJsonBody.from_dict({"companyId": "jo"})}),
    ("getv_3_accountsloginsamlcompany_id", ("jo",), {}),
    ("postv_3_accountsloginsamlcompany_idacs", ("jo",), {}),
]:
    answer = call("accounts", name, 404, *path, **arguments)
    assert json.loads(answer.content)["code"] == "NOT_FOUND", answer.content

# Webhooks, and a receiver that verifies as the documentation says: base64 of the HMAC-SHA-256 of the body with the token.
arrived = Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        arrived.put((self.headers["Webhook-Signature"], content))

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()


def delivered(secret):
    """Verifies the next delivery. Its account, and the version of the account after the change."""
    signature, content = arrived.get(timeout=60)
    expected = base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(signature, expected), (signature, expected)
    message = json.loads(content)
    tenant = models.TenantDto.from_dict(message["data"])
    full(tenant)
    full(tenant.plan)
    print(f"ok  receiver verified {message['event']} signed with {secret!r}")
    return tenant, message["sequence"]


names = call("webhooks", "getv3webhooksevents", 200).parsed
assert "account.updated" in names["account"]
target = f"http://127.0.0.1:{server.server_port}/hook"
members = {"name": "CRM", "url": target, "token": "s3cret", "active": False, "events": ["account.updated"]}
hook = call("webhooks", "postv3webhooks", 201, json_body=body(Postv3WebhooksJsonBody, **members)).parsed
full(hook)
assert (hook.name, hook.token, hook.active, hook.events) == ("CRM", "s3cret", False, ["account.updated"])
again = call("webhooks", "getv3webhooksid", 200, hook.id).parsed
full(again)
assert again.token == "" and again.name == "CRM"
hooks = call("webhooks", "getv3webhooks", 200, page=1, limit=10, sort="name", query="crm")
assert [it.id for it in hooks.parsed] == [hook.id] and hooks.headers["pagination-count"] == "1"
assert call("webhooks", "getv3webhooks", 200, page=2, limit=10).parsed == []
answer = call("webhooks", "patchv3webhooksid", 200, hook.id, json_body=WebhookRequestModel.from_dict(again.to_dict()))
assert answer.headers["steward-changed"] == "false"
call("accounts", "putv3accountsidstatus", 200, account.id, json_body=AccountStatusRequestModel(status=AccountStatusRequestModelStatus.ACTIVE))
call("webhooks", "patchv3webhooksid", 200, hook.id, json_body=body(WebhookRequestModel, active=True))
answer = call("accounts", "patchv3accountsid", 200, account.id, json_body=body(AccountUpdateRequestModel, company="first"))
version = json.loads(answer.content)["version"]
# The endpoint resumes where it stopped, so what changed while it was off is delivered before.
while delivered("s3cret")[1] != version:
    pass
answer = call("webhooks", "patchv3webhooksid", 200, hook.id, json_body=body(WebhookRequestModel, token="n3w"))
assert answer.parsed.token == "n3w"
call("accounts", "patchv3accountsid", 200, account.id, json_body=body(AccountUpdateRequestModel, company="second"))
assert delivered("n3w")[0].company == "second"
call("webhooks", "postv3webhooks", 400, json_body=body(Postv3WebhooksJsonBody, url=target, events=["license.created"]))
call("webhooks", "deletev3webhooksid", 204, hook.id)
call("webhooks", "getv3webhooksid", 404, hook.id)

# Event logs.
logs = call("event_logs", "getv3event_logs", 200, page=1, limit=3, sort="-createdAt")
assert int(logs.headers["pagination-count"]) >= 5 and len(logs.parsed) == 3
newest = logs.parsed[0]
assert newest.resource == "account" and newest.resource_id == account.id
[change] = newest.changes
assert (change.property_name, change.old_value, change.new_value) == ("company", "first", "second")
full_log = call("event_logs", "getv3event_logsid", 200, newest.id).parsed
assert full_log == newest
assert call("event_logs", "getv3event_logs", 200, query="nothing has this").parsed == []
call("event_logs", "getv3event_logsid", 404, "999999999")

# Tokens.
later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)).isoformat()
new = body(Postv3PersonalAccessTokensJsonBody, name="CRM", revoked=False, expiresAt=later, scopes=["account:read"])
secret = call("personal_access_tokens", "postv3personal_access_tokens", 201, json_body=new).parsed.access_token
other = AuthenticatedClient(base_url=url, token=secret, timeout=30.0)
reads = importlib.import_module("cryptlex_web_api_client.api.accounts.getv3accountsid")
assert reads.sync_detailed(account.id, client=other).status_code == 200
listed = call("personal_access_tokens", "getv3personal_access_tokens", 200, page=1, limit=10, query="CRM").parsed
[mine] = listed
full(mine)
assert (mine.name, mine.revoked, mine.scopes) == ("CRM", False, ["account:read"])
assert call("personal_access_tokens", "getv3personal_access_tokensid", 200, mine.id).parsed == mine
revoke = PersonalAccessTokenRevokeRequestModel(revoked=True)
assert call("personal_access_tokens", "patchv3personal_access_tokensid", 200, mine.id, json_body=revoke).parsed.revoked
assert reads.sync_detailed(account.id, client=other).status_code == 401
call("personal_access_tokens", "deletev3personal_access_tokensid", 204, mine.id)
call("personal_access_tokens", "getv3personal_access_tokensid", 404, "999999999")

# The caller.
me = call("users", "getv3me", 200).parsed
assert me.company == "Acme" and me.role == "reseller"
call("users", "patchv3me", 405, json_body=MeUpdateRequestModel(first_name="Jo", last_name="Doe", email="jo@example.com"))

# No call of these parts of the SDK was left out.
for tag in TAGS:
    package = importlib.import_module(f"cryptlex_web_api_client.api.{tag}")
    for module in pkgutil.iter_modules(package.__path__):
        assert (tag, module.name) in called, f"{tag}.{module.name} was not called"
print(f"cryptlex-python-sdk: {len(called)} operations, {sum(called.values())} calls as expected")
