"""A language model inside a FastAPI app: OpenAI's API and the chat page under /llm, and a route of the app's own.

    pip install "tinylm[fast,serve]" fastapi
    TINYLM_MODEL=runs/NAME/best uvicorn fastapi_app:app --app-dir examples

The chat page is then at http://127.0.0.1:8000/llm/.
"""

import os

from fastapi import FastAPI, HTTPException

import tinylm
from tinylm.errors import TinylmError
from tinylm.serving import ServerSettings, create_app

lm = tinylm.load(os.environ["TINYLM_MODEL"])
app = FastAPI(title="an app with a model")
app.mount("/llm", create_app(lm, ServerSettings(name="mine", api_key=os.environ.get("TINYLM_API_KEY"))))


@app.get("/next")
def next_tokens(text: str, k: int = 5) -> list[dict]:
    """What may follow a text, the likeliest first."""
    try:
        return [{"token": found.text, "probability": found.probability} for found in lm.next(text, k=k)]
    except TinylmError as error:  # such as a character that the tokenizer does not know
        raise HTTPException(400, str(error)) from None
