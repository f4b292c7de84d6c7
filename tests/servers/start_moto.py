"""Runs an S3-compatible store on a free port of loopback until standard input ends.

Prints `listening PORT` once it does. It keeps objects in memory and has one bucket, `drops`.
"""

import logging
import sys

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
boto3.client(
    "s3",
    endpoint_url=f"http://{host}:{port}",
    region_name="us-east-1",
    aws_access_key_id="of-a-test",
    aws_secret_access_key="of-a-test",
).create_bucket(Bucket="drops")
print("listening", port, flush=True)
sys.stdin.read()
server.stop()
