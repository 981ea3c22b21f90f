"""A function in the cloud that writes with a model: NumPy alone, 64 MB of packages and the model.

    pip install --target package tinylm
    cp -r examples/serverless.py runs/NAME/best package/
    cd package && zip -r ../function.zip .

`handler` is the entry that the provider is told (AWS Lambda's form: an HTTP event in, a response out). Nothing is
compiled and nothing is written, so that a cold start takes a few tenths of a second on a read-only file system.
"""

import json
import logging
from pathlib import Path

import tinylm

logging.getLogger("tinylm").setLevel(logging.ERROR)  # that Numba is left out is meant
LM = tinylm.load(Path(__file__).parent / "best")  # once for an instance: later calls find it
MOST_TOKENS = 200


def handler(event: dict, context: object = None) -> dict:
    """Answer {"prompt": ..., "max_tokens": ...} with {"text": ...}; 400 for what is none."""
    try:
        asked = json.loads(event.get("body") or "{}")
        most = min(int(asked.get("max_tokens", 100)), MOST_TOKENS)
        text = LM.generate(asked["prompt"], max_tokens=most, temperature=0.8)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return _response(400, {"error": f"expected an object with a prompt: {error!r}"})
    return _response(200, {"text": text})


def _response(status: int, body: dict) -> dict:
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
