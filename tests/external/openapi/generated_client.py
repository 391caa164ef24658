"""Creates, changes, freezes and lists an account with a client generated from the OpenAPI document."""

import sys
from types import SimpleNamespace

from steward_client import AuthenticatedClient
from steward_client.api.accounts import accounts_create, accounts_explain, accounts_freeze, accounts_list, accounts_status
from steward_client.api.admin import admin_get
from steward_client.models import AccountCreation, AccountsListSort, AdminGetRequest, HoldRequest, StatusRequest, StatusRequestStatus

url, token = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)

made = accounts_create.sync_detailed(client=client, body=AccountCreation(email="generated@example.com", company="Generated"), idempotency_key="once")
again = accounts_create.sync_detailed(client=client, body=AccountCreation(email="generated@example.com", company="Generated"), idempotency_key="once")
assert made.status_code == 201 and made.parsed.id == again.parsed.id, made
account = made.parsed
assert accounts_status.sync(account.id, client=client, body=StatusRequest(status=StatusRequestStatus.INACTIVE)).status == "inactive"
frozen = accounts_freeze.sync(account.id, client=client, body=HoldRequest(payment_url="https://example.com/pay"))
assert frozen.effective_status == "inactive" and frozen.blocked_by == ["inactive", "frozen"], frozen
listed = accounts_list.sync(client=client, emaileq="generated@example.com", statusin="inactive")
assert [one.id for one in listed] == [account.id], listed
first = accounts_list.sync_detailed(client=client, after="", limit=1)
assert first.status_code == 200 and len(first.parsed) == 1, first
blocks = accounts_explain.sync(account.id, client=client).blocks
assert [one.block for one in blocks] == ["inactive", "frozen"], blocks
refused = accounts_status.sync_detailed(account.id, client=client, body=StatusRequest(status=SimpleNamespace(value="asleep")))
assert refused.status_code == 400 and refused.parsed.code == "INVALID_REQUEST", refused
number = accounts_list.sync_detailed(client=client, sort=AccountsListSort("-createdAt"), limit=1).headers["pagination-count"]
item = admin_get.sync(client=client, body=AdminGetRequest(id=int(number)))
assert item.data.uid == account.id and item.data.is_frozen, item
print("generated client: created, switched off, frozen, listed, explained: ok")
