"""Runs clients/cases.json against this client: python cases.py CASES SCRIPTED_URL DEMO_URL."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from typing import Any, Callable

import holdfast_client as hf
from holdfast_client import Admin, Attempt, Policy, Shop


class FakeClock:
    """Time that passes only while a call waits."""

    def __init__(self) -> None:
        self.now, self.waits_ms = 0.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits_ms.append(seconds * 1000)


def keyed(args: dict[str, Any]) -> dict[str, Any]:
    """The options of a call that waits."""
    options: dict[str, Any] = {"key": args["key"]} if "key" in args else {}
    if "deadline_ms" in args:
        options["deadline_s"] = args["deadline_ms"] / 1000
    return options


def given(args: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: args[name] for name in names if name in args}


CALLS: dict[str, Callable[[Shop, Admin, dict[str, Any]], Any]] = {
    "shop.place_hold": lambda s, a, x: s.place_hold(x["order"], **keyed(x)),
    "shop.hold": lambda s, a, x: s.hold(x["hold_id"], **given(x, "user_id")),
    "shop.release_hold": lambda s, a, x: s.release_hold(x["hold_id"], **given(x, "user_id")),
    "shop.buy": lambda s, a, x: s.buy(x["order"], **keyed(x)),
    "shop.purchase": lambda s, a, x: s.purchase(x["purchase_id"], **given(x, "user_id")),
    "shop.product": lambda s, a, x: s.product(x["product_id"]),
    "shop.products": lambda s, a, x: list(s.products(**given(x, "page_size"))),
    "shop.receipt": lambda s, a, x: s.receipt(x["receipt_id"]),
    "shop.verify_receipt": lambda s, a, x: s.verify_receipt(x["receipt"]),
    "shop.jwks": lambda s, a, x: s.jwks(),
    "shop.rewards": lambda s, a, x: s.rewards(x["user_id"]),
    "shop.spend_rewards": lambda s, a, x: s.spend_rewards(x["user_id"], x["tokens"], **keyed(x)),
    "admin.product": lambda s, a, x: vars(a.product(x["product_id"])),
    "admin.products": lambda s, a, x: list(a.products(**given(x, "page_size"))),
    "admin.put_product": lambda s, a, x: vars(
        a.put_product(x["product_id"], x["terms"], **given(x, "if_match", "if_none_match"))
    ),
    "admin.patch_product": lambda s, a, x: vars(a.patch_product(x["product_id"], x["patch"], **given(x, "if_match"))),
    "admin.change_stock": lambda s, a, x: vars(a.change_stock(x["product_id"], x["add"], **given(x, "if_match"))),
    "admin.promotion": lambda s, a, x: vars(a.promotion(x["code"])),
    "admin.promotions": lambda s, a, x: list(a.promotions(**given(x, "page_size"))),
    "admin.put_promotion": lambda s, a, x: vars(
        a.put_promotion(x["code"], x["terms"], **given(x, "if_match", "if_none_match"))
    ),
    "admin.patch_promotion": lambda s, a, x: vars(a.patch_promotion(x["code"], x["patch"], **given(x, "if_match"))),
    "admin.purchase": lambda s, a, x: a.purchase(x["purchase_id"]),
    "admin.refund": lambda s, a, x: a.refund(x["purchase_id"], x["order"], **keyed(x)),
    "admin.refunds": lambda s, a, x: a.refunds(x["purchase_id"]),
    "admin.refund_by_number": lambda s, a, x: a.refund_by_number(x["purchase_id"], x["number"]),
    "admin.void": lambda s, a, x: a.void(x["purchase_id"]),
    "admin.settle": lambda s, a, x: a.settle(x["purchase_id"], x["as"], x["note"]),
    "admin.reviews": lambda s, a, x: list(a.reviews(**given(x, "page_size"))),
    "admin.approve_review": lambda s, a, x: a.approve_review(x["purchase_id"], x["note"]),
    "admin.reject_review": lambda s, a, x: a.reject_review(x["purchase_id"], x["note"]),
    "admin.open_payments": lambda s, a, x: list(a.open_payments(**given(x, "state", "page_size"))),
    "admin.user": lambda s, a, x: a.user(x["user_id"]),
    "admin.user_purchases": lambda s, a, x: list(a.user_purchases(x["user_id"], **given(x, "page_size"))),
    "admin.pause_user": lambda s, a, x: a.pause_user(x["user_id"], x["until"], x["reason"]),
    "admin.resume_user": lambda s, a, x: a.resume_user(x["user_id"]),
    "admin.audit": lambda s, a, x: list(a.audit(**x["filters"])),
    "admin.status": lambda s, a, x: a.status(),
    "verify_receipt": lambda s, a, x: hf.verify_receipt(x["receipt"], hmac_keys=x.get("hmac"), jwks=x.get("jwks")),
}


def outcome(shop: Shop, admin: Admin, call: str, args: dict[str, Any]) -> dict[str, Any]:
    """What a call led to, as the cases write it."""
    try:
        return {"returns": CALLS[call](shop, admin, args)}
    except hf.HoldfastError as error:
        return {"raises": {"idempotency_key": error.idempotency_key, **shown(error)}}
    except ValueError:
        return {"raises": {"error": "misuse"}}


def shown(error: hf.HoldfastError) -> dict[str, Any]:
    if isinstance(error, hf.Refused):
        facts = {"status": error.status, "reason": error.reason, "request_id": error.request_id}
        facts |= {"retry_after_s": error.retry_after_s, "problem": error.problem}
        if not isinstance(error, hf.PaymentDeclined):
            return {"error": "refused", **facts}
        declined = error.declined
        more = {"purchase_id": declined.get("purchase_id"), "code": declined.get("code")}
        return {"error": "declined", **facts, **more, "retry_advice": error.retry_advice, "hold": error.hold}
    if isinstance(error, hf.Pending):
        return {"error": "pending", "state": error.state, "location": error.location}
    return {"error": "unreachable" if isinstance(error, hf.Unreachable) else "protocol"}


def differs(expected: Any, actual: Any, at: str = "") -> str | None:
    """Where `actual` lacks something of `expected`; "*" is anything but null."""
    if expected == "*":
        return f"{at} is null" if actual is None else None
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return f"{at} is {actual!r}, not an object"
        found = (differs(value, actual.get(name), f"{at}.{name}") for name, value in expected.items())
        return next((it for it in found if it), None)
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return f"{at} is {actual!r}, not {len(expected)} entries"
        found = (differs(value, actual[i], f"{at}[{i}]") for i, value in enumerate(expected))
        return next((it for it in found if it), None)
    is_same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return None if is_same else f"{at} is {actual!r}, not {expected!r}"


def observed(seen: list[Attempt], case: dict[str, Any]) -> str | None:
    if "observed" not in case:
        return None
    attempts = [{"status": it.status, "replayed": it.replayed} for it in seen]
    return differs(case["observed"], attempts[: len(case["observed"])], "observed")


def scripted(cases: dict[str, Any], url: str) -> list[str]:
    return [f"{case['name']}: {it}" for number, case in enumerate(cases["calls"]) for it in played(url, number, case)]


def played(url: str, number: int, case: dict[str, Any]) -> list[str]:
    urllib.request.urlopen(urllib.request.Request(f"{url}/_case/{number}", method="POST")).read()
    clock, seen, options = FakeClock(), [], case.get("options", {})
    policy = Policy(
        timeout_s=options.get("timeout_ms", 10_000) / 1000,
        retries_max=options.get("retries_max", 4),
        clock=clock,
        observer=seen.append,
    )
    key = "key-of-the-cases"
    found: list[str | None] = []
    with Shop(url, key, policy=policy) as shop, Admin(url, key, policy=policy) as admin:
        for _ in range(case.get("times", 1)):
            found.append(differs(case["outcome"], outcome(shop, admin, case["call"], case["args"])))
    found.append(observed(seen, case))
    if "waits_ms" in case:
        bounds = case["waits_ms"]
        is_within = len(bounds) == len(clock.waits_ms) and all(
            low - 0.001 <= wait <= high + 0.001 for (low, high), wait in zip(bounds, clock.waits_ms)
        )
        found.append(None if is_within else f"waited {clock.waits_ms}, not {bounds}")
    verdict = json.load(urllib.request.urlopen(f"{url}/_verdict"))
    return [it for it in found if it] + verdict["wrong"]


def live(cases: dict[str, Any], url: str) -> list[str]:
    """The steps against a demo, each with what earlier ones saved."""
    seen: list[Attempt] = []
    policy = Policy(observer=seen.append)
    saved: dict[str, Any] = {"run": "python"}
    with Shop(url, "demo-shop-key", policy=policy) as shop, Admin(url, "demo-admin-key", policy=policy) as admin:
        for step in cases["live"]:
            seen.clear()
            ended = outcome(shop, admin, step["call"], filled(step["args"], saved))
            wrong = differs(filled(step["outcome"], saved), ended) or observed(seen, step)
            if wrong:
                return [f"live: {step['name']}: {wrong}"]
            if "save" in step:
                saved[step["save"]] = ended.get("returns", ended.get("raises"))
    return []


def filled(value: Any, saved: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: filled(it, saved) for name, it in value.items()}
    if isinstance(value, list):
        return [filled(it, saved) for it in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\$\{([^}]+)\}", value)
    if whole:
        return looked_up(whole[1], saved)
    return re.sub(r"\$\{([^}]+)\}", lambda it: str(looked_up(it[1], saved)), value)


def looked_up(path: str, saved: dict[str, Any]) -> Any:
    value: Any = saved
    for name in path.split("."):
        value = value[name]
    return value


def receipts(cases: dict[str, Any]) -> list[str]:
    wrong = []
    for case in cases["receipts"]:
        keys = cases["receipt_keys"][case["keys"]]
        try:
            found: Any = {"verdict": hf.verify_receipt(case["text"], hmac_keys=keys.get("hmac"), jwks=keys.get("jwks"))}
        except hf.KeysUnread:
            found = {"keys_unread": True}
        if found != case["expect"]:
            wrong.append(f"receipt, {case['name']}: {found}, not {case['expect']}")
    return wrong


def webhooks(cases: dict[str, Any]) -> list[str]:
    wrong = []
    for case in cases["webhooks"]:
        secrets = [cases["webhook_keys"].get(it, it) for it in case["secrets"]]
        headers = [(name, value) for name, value in case["headers"]]
        options = given(case, "now", "tolerance_s")
        try:
            webhook = hf.verify_webhook(headers, case["body"].encode(), secrets, **options)
            found: Any = {"genuine": {"id": webhook.id, "timestamp": webhook.timestamp}}
        except hf.WebhookRefused as refused:
            found = {"refused": refused.reason}
        except ValueError:
            found = {"misuse": True}
        if found != case["expect"]:
            wrong.append(f"webhook, {case['name']}: {found}, not {case['expect']}")
    return wrong


def main() -> int:
    path, scripted_url, demo_url = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    wrong = [*webhooks(cases), *receipts(cases), *scripted(cases, scripted_url), *live(cases, demo_url)]
    for it in wrong:
        print(it)
    counts = ", ".join(f"{len(cases[name])} {name}" for name in ("calls", "webhooks", "receipts", "live"))
    print(f"python: {counts}; {len(wrong)} wrong")
    return 1 if wrong else 0


sys.exit(main())
