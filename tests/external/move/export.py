"""Writes the accounts of a made-up Zoolz reseller in CSV. usage: export.py > accounts.csv

10,000 accounts with the numbers that they have there, with gaps, in no order. Three are suspended, two are frozen,
every fortieth has expired, every fiftieth never expires. The dates have no zone."""
import csv
import sys

ACCOUNTS = 10_000
PLANS = [331, 332, 1535]
SUSPENDED = {40_007: "overdue", 44_003: "abuse", 51_127: "overdue"}
FROZEN = {40_037: "https://pay.example/40037", 62_255: "https://pay.example/62255?a=1&b=2"}
FIRST_NAMES = ["Jo", "Zo\u00eb", "J\u00fcrgen", "\u00c5sa", "Andr\u00e9", "\u0141ukasz", "\u0418\u0432\u0430\u043d"]


def number(index):
    return 40_007 + index * 3 - index % 2


def account(index):
    expires_at = "" if index % 50 == 7 else f"2025-{index % 12 + 1:02}-28" if index % 40 == 11 else f"203{index % 9}-{index % 12 + 1:02}-15"
    return {
        "number": number(index),
        "email": f"user{index}@backup.example",
        "name": f"{FIRST_NAMES[index % len(FIRST_NAMES)]} No. {index}",
        "company": f"Company {index}, Ltd" if index % 3 == 0 else "",
        "plan": PLANS[index % len(PLANS)],
        "created_at": f"20{index % 10 + 10}-03-{index % 28 + 1:02}T08:30:00",
        "expires_at": expires_at,
        "suspend_reason": SUSPENDED.get(number(index), ""),
        "suspend_since": "2026-02-01" if number(index) in SUSPENDED else "",
        "freeze_reason": "unpaid" if number(index) in FROZEN else "",
        "freeze_payment_url": FROZEN.get(number(index), ""),
    }


def accounts():
    return [account(index * 7 % ACCOUNTS) for index in range(ACCOUNTS)]


if __name__ == "__main__":
    writer = csv.DictWriter(sys.stdout, fieldnames=list(account(0)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(accounts())
