"""A peer: FastAPI around a transformers classifier in torch, a forward pass a request.

As courses on serving models show it: what a request brings is computed at once, alone.
"""

from typing import Any

import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from benchmarks.children.result import read_settings


class Request(BaseModel):
    text: str


def main() -> None:
    settings = read_settings()
    torch.set_num_threads(settings["threads"])
    tokenizer: Any = AutoTokenizer.from_pretrained(settings["folder"])
    model = AutoModelForSequenceClassification.from_pretrained(settings["folder"]).eval()
    app = FastAPI()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "live"}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        inputs = tokenizer(request.text, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            probabilities = torch.softmax(model(**inputs).logits[0], -1).tolist()
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return {
            "prediction": model.config.id2label[best],
            "probabilities": {
                model.config.id2label[i]: value for i, value in enumerate(probabilities)
            },
        }

    uvicorn.run(app, port=settings["port"], log_level="warning")


if __name__ == "__main__":
    main()
