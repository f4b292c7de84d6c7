"""Reads docs/openapi.yaml into the types that the clients need.

A component that is an object or a list of words gets a type of its own name; other components are
replaced by what they are. An object inside another one is named after its owner and its field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]

# What the clients call. clients/cases.json has a case for each of them.
OPERATIONS = """
    placeHold hold releaseHold buy products product purchase receipt rewards spendRewards verifyReceipt jwks
    adminProducts adminProduct putProduct patchProduct changeStock
    adminPromotions adminPromotion putPromotion patchPromotion
    adminPurchase refunds refund refundByNumber void settle reviews approveReview rejectReview openPayments
    adminUser userPurchases pauseBuyer resumeBuyer audit status
""".split()

# Objects that stand inside an answer and that a caller has in hand: a name of their own.
NAMED = {
    "AuditEvent": "/paths/~1admin~1audit/get/responses/200/content/application~1json/schema/properties/events/items",
    "Status": "/paths/~1admin~1status/get/responses/200/content/application~1json/schema",
    "BuyerRiskFacts": "/components/responses/BuyerRisk/content/application~1json/schema",
}
ROOTS = """
    HoldOrder Hold BuyOrder Purchase Product Receipt Rewards Spent Verdict KeySet ProductSet ProductPatch
    AdminProduct PromotionSet PromotionPatch AdminPromotion AdminPurchase RefundOrder Refund Review OpenPayment
    Buyer Problem Declined Unavailable
""".split()
# Words inside an object that get a name of their own.
NAMED_WORDS = {("Problem", "reason"): "Reason", ("Declined", "retry_advice"): "RetryAdvice"}
# A request is written by callers, so that Java gives it a way to be made.
REQUESTS = {"HoldOrder", "BuyOrder", "RefundOrder", "ProductSet", "PromotionSet"}


@dataclass(frozen=True)
class Kind:
    """What a value is: a scalar's name, `list`, `map`, `words` or `ref`."""

    name: str
    of: Any = None
    nullable: bool = False


@dataclass(frozen=True)
class Field:
    name: str
    kind: Kind
    required: bool
    about: str


@dataclass
class Type:
    """An object with fields, or a list of words."""

    name: str
    about: str
    fields: list[Field] = field(default_factory=list)
    words: tuple[str, ...] = ()


def document() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docs/openapi.yaml").read_text(encoding="utf-8"))


def at(document: Any, pointer: str) -> Any:
    """What a JSON pointer leads to."""
    for part in pointer.lstrip("#").strip("/").split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


class Reader:
    """Reads types; each is read once, with those that it names."""

    def __init__(self) -> None:
        self.document = document()
        self.types: dict[str, Type] = {}
        self.schemas: dict[str, int] = {}

    def read(self) -> list[Type]:
        for name in ROOTS:
            self.component(name)
        for name, pointer in NAMED.items():
            self.object(name, at(self.document, pointer))
        return sorted(self.types.values(), key=lambda it: it.name)

    def component(self, name: str) -> Kind:
        """The kind of a component, which is read where it has a type of its own."""
        schema = self.document["components"]["schemas"][name]
        if schema.get("enum"):
            self.types.setdefault(name, Type(name, schema.get("description", ""), words=tuple(schema["enum"])))
            return Kind("ref", name)
        if "properties" in schema or "allOf" in schema and len(schema["allOf"]) > 1:
            return self.object(name, schema)
        return self.kind(schema, name, "")

    def object(self, name: str, schema: dict[str, Any]) -> Kind:
        if self.schemas.setdefault(name, id(schema)) != id(schema):
            raise ValueError(f"two objects would be named {name}: give one of them a name in NAMED")
        if name not in self.types:
            self.types[name] = Type(name, schema.get("description", ""))
            self.types[name].fields = list(self.fields(name, schema).values())
        return Kind("ref", name)

    def fields(self, owner: str, schema: dict[str, Any]) -> dict[str, Field]:
        fields: dict[str, Field] = {}
        for part in schema.get("allOf", []):
            if "$ref" in part:
                base = part["$ref"].rsplit("/", 1)[1]
                self.component(base)
                fields |= {it.name: it for it in self.types[base].fields}
            else:
                fields |= self.fields(owner, part)
        required = schema.get("required", [])
        for name, value in schema.get("properties", {}).items():
            kind = self.kind(value, owner, name)
            fields[name] = Field(name, kind, name in required, value.get("description", ""))
        return fields

    def kind(self, schema: dict[str, Any], owner: str, name: str) -> Kind:
        if "$ref" in schema:
            return self.component(schema["$ref"].rsplit("/", 1)[1])
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return self.either(schema[word], owner, name)
        if "enum" in schema:
            return self.words(schema["enum"], owner, name)
        types = schema.get("type", "any")
        types = types if isinstance(types, list) else [types]
        nullable = "null" in types
        (plain,) = [it for it in types if it != "null"]
        if plain == "array":
            return Kind("list", self.kind(schema["items"], owner, name.removesuffix("s")), nullable)
        if plain != "object":
            return Kind(plain, None, nullable)
        if "properties" in schema:
            inner = owner + "".join(part.capitalize() for part in name.split("_"))
            return Kind("ref", self.object(inner, schema).of, nullable)
        values = schema.get("additionalProperties")
        return Kind("map", self.kind(values, owner, name) if values else Kind("any"), nullable)

    def either(self, choices: list[dict[str, Any]], owner: str, name: str) -> Kind:
        kinds = [self.kind(it, owner, name) for it in choices if it != {"type": "null"}]
        if len(kinds) != 1:
            raise ValueError(f"{owner}.{name} is one of several kinds, which no client needed so far")
        return Kind(kinds[0].name, kinds[0].of, kinds[0].nullable or len(choices) > 1)

    def words(self, enum: list[str | None], owner: str, name: str) -> Kind:
        words = tuple(it for it in enum if it is not None)
        own = NAMED_WORDS.get((owner, name))
        if own is None:
            return Kind("words", words, None in enum)
        self.types.setdefault(own, Type(own, "", words=words))
        return Kind("ref", own)
