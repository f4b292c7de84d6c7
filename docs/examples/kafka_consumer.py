#!/usr/bin/env python3
"""Reads holdfast's events from Kafka, each once, and prints them as JSON lines.

    pip install confluent-kafka
    kafka_consumer.py --brokers localhost:9092 --topic holdfast.events --group analytics

What a consumer has to do, and this one does:

* drop repeats: holdfast delivers at least once, so the same `ce_source` and `ce_id` may come again, always
  behind the first. `ce_id` grows along the log and a buyer's events keep their order, so for each
  source and key it is enough to remember the latest `ce_id`;
* take back what the log has lost, where an older copy of it was put back: the message that says so comes
  in every partition, before the events that go on;
* check what it relies on: here, that the fields that the type's schema requires are there;
* pass over types that it does not know: new ones come without warning;
* commit its offset only behind what it has done.

Here the latest ids are kept in memory. Keep them where your results are, and in the same transaction.
"""

import argparse
import json
import pathlib
import sys

from confluent_kafka import Consumer, KafkaError

TAKEN_BACK = "holdfast.history.taken_back.v1"
SCHEMAS = pathlib.Path(__file__).resolve().parent.parent / "events"


def arguments():
    parser = argparse.ArgumentParser(description="Reads holdfast's events, each once.")
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", default="holdfast.events")
    parser.add_argument("--group", required=True)
    parser.add_argument("--until-end", action="store_true", help="end with the topic's present end")
    return parser.parse_args()


def required_fields():
    """The fields that each type's schema requires, by type."""
    required = {}
    for path in SCHEMAS.glob("holdfast.*.v*.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        required[path.name.removesuffix(".json")] = schema["required"]
    return required


def problem_with(event, type_, required):
    """What is wrong with the event, or None."""
    if not isinstance(event, dict):
        return "is no object"
    missing = [field for field in required[type_] if field not in event]
    return f"lacks {', '.join(missing)}" if missing else None


def main():
    chosen = arguments()
    required = required_fields()
    consumer = Consumer(
        {
            "bootstrap.servers": chosen.brokers,
            "group.id": chosen.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": chosen.until_end,
        }
    )
    at_end = set()
    latest = {}  # the latest id of each key of each log
    handled = repeated = unknown = invalid = 0
    consumer.subscribe([chosen.topic])
    try:
        while True:
            message = consumer.poll(1.0)
            assigned = {it.partition for it in consumer.assignment()}
            if chosen.until_end and assigned and at_end >= assigned:
                break
            if message is None:
                continue
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    at_end.add(message.partition())
                    continue
                raise SystemExit(f"the broker says: {message.error()}")
            headers = {key: value.decode() for key, value in message.headers() or []}
            type_ = headers["ce_type"]
            if type_ == TAKEN_BACK:
                lost = json.loads(message.value())
                # Here that is a line; in a store of yours it undoes what these events did there.
                print(
                    f"partition {message.partition()}: take back the events of {lost['sources']} from"
                    f" LSN {lost['from_lsn']} on",
                    file=sys.stderr,
                )
                continue
            number = int(headers["ce_id"])
            stream = (headers["ce_source"], message.key())
            if number <= latest.get(stream, -1):
                repeated += 1
                continue
            latest[stream] = number
            if type_ not in required:
                unknown += 1
                continue
            event = json.loads(message.value())
            problem = problem_with(event, type_, required)
            if problem:
                invalid += 1
                print(f"{type_} at {number} {problem}", file=sys.stderr)
                continue
            print(json.dumps(event), flush=not chosen.until_end)
            handled += 1
            if not chosen.until_end:
                consumer.commit(message=message, asynchronous=True)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    print(
        f"{handled} handled, {repeated} repeated, {unknown} of unknown types, {invalid} invalid",
        file=sys.stderr,
    )
    sys.exit(1 if invalid else 0)


if __name__ == "__main__":
    main()
