"""The floor: what a good engineer writes without us. No state, no report, no second chance."""

import json
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal

import httpx

STATUS = dict.fromkeys(("LEAD", "CONTACTED", "QUALIFIED"), "prospect")
STATUS |= {"WON": "active", "LOST": "archived", "BLOCKED": "blocked"}
CENT = Decimal("0.01")
TABLE = """CREATE TABLE IF NOT EXISTS customers (
    number TEXT PRIMARY KEY, name TEXT, email TEXT, status TEXT, street TEXT, city TEXT,
    postcode TEXT, country TEXT, balance TEXT, created_at TEXT, updated_at TEXT, notes TEXT)"""
UPSERT = """INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (number) DO UPDATE SET name = excluded.name, email = excluded.email,
    status = excluded.status, street = excluded.street, city = excluded.city,
    postcode = excluded.postcode, country = excluded.country, balance = excluded.balance,
    created_at = excluded.created_at, updated_at = excluded.updated_at, notes = excluded.notes"""


def load(url: str, path: str) -> int:
    """Copy all contacts into a table of customers; return how many were read."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(TABLE)
    read, parameters = 0, {"limit": "500"}
    with httpx.Client() as client:
        while True:
            response = client.get(f"{url}/contacts", params=parameters).raise_for_status()
            items = json.loads(response.content)["items"]
            if not items:
                break
            read += len(items)
            rows = []
            for item in items:
                addresses = item["addresses"]
                address = next((a for a in addresses if a["kind"] == "billing"), addresses[0])
                created = datetime.fromisoformat(item["created"]).astimezone(UTC)
                updated = datetime.fromisoformat(item["updated_at"]).astimezone(UTC)
                rows.append(
                    (
                        "CRM-" + item["id"], item["full_name"][:40], item["email"].lower(),
                        STATUS[item["status"]], address["street"], address["city"],
                        address["postcode"], address["country"],
                        str(Decimal(item["balance"]).quantize(CENT)),
                        created.isoformat(), updated.isoformat(), item["notes"][:200],
                    )
                )  # fmt: skip
            with db:
                db.executemany(UPSERT, rows)
            parameters["after"] = f"{items[-1]['updated_at']},{items[-1]['id']}"
    db.close()
    return read
