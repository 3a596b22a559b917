"""The same fine-tuning with transformers' Trainer, as its users write it.

Dynamic padding, fused AdamW, linear warm-up and decay, weight decay 0.01; autocast to bfloat16 if
the settings say so. Only table and split are read by bertjax, so that the rows are the same.
"""

import time
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]  # only where peers are measured
from sklearn.metrics import f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from benchmarks.children.result import Clock, read_settings, write_result
from bertjax.data.labels import classes_of, encode_labels
from bertjax.data.sources import read_table
from bertjax.data.splits import split_rows

Rows = list[dict[str, Any]]


class ClockCallback(TrainerCallback):
    """Tells the clock what the Trainer has done."""

    def __init__(self) -> None:
        self.clock = Clock()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.clock.start()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.clock.epoch()


def main() -> None:
    settings = read_settings()
    torch.set_num_threads(settings["threads"])
    set_seed(settings["seed"])
    table = read_table(settings["data"], settings["text"], settings["label"])
    labels = table.labels or []
    classes = classes_of(labels)
    tokenizer = AutoTokenizer.from_pretrained(settings["checkpoint"])

    def rows(indices: np.ndarray) -> Rows:
        tokens = tokenizer([table.texts[i] for i in indices], truncation=True)
        targets = encode_labels([labels[i] for i in indices], classes)
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": int(target)}
            for ids, mask, target in zip(
                tokens["input_ids"], tokens["attention_mask"], targets, strict=True
            )
        ]

    train, test = map(rows, split_rows(labels, settings["test_size"], settings["seed"]))
    model = AutoModelForSequenceClassification.from_pretrained(
        settings["checkpoint"],
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
    )
    clock = ClockCallback()
    trainer = Trainer(
        model=model,
        args=_training_arguments(settings),
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=train,  # pyright: ignore[reportArgumentType]  # any sequence will do
        processing_class=tokenizer,
        callbacks=[clock],
    )
    began = time.perf_counter()
    trainer.train()
    train_s = time.perf_counter() - began
    # In its own order: grouping by length sorts these rows too.
    predicted, targets, _ = trainer.predict(test)  # pyright: ignore[reportArgumentType]
    trainer.save_model(settings["out"])  # the tokenizer too
    write_result(
        {
            "weighted_f1": float(f1_score(targets, np.argmax(predicted, -1), average="weighted")),
            "train_s": train_s,
            **clock.clock.figures(),
            "epochs": settings["epochs"],
            "device": trainer.args.device.type,
            "train_rows": len(train),
            "test_rows": len(test),
            "train_tokens": sum(len(row["input_ids"]) for row in train),
        }
    )


def _training_arguments(settings: dict[str, Any]) -> TrainingArguments:
    return TrainingArguments(
        output_dir=f"{settings['out']}.trainer",
        use_cpu=True,
        # Where the processor does not multiply bfloat16, torch's products reach 1 GFLOP/s with it.
        bf16=settings["precision"] == "bfloat16",
        train_sampling_strategy=settings["sampling"],  # random, or group_by_length
        learning_rate=settings["learning_rate"],
        num_train_epochs=settings["epochs"],
        per_device_train_batch_size=settings["batch_size"],
        per_device_eval_batch_size=64,
        warmup_steps=0.1,  # below 1 it is a share of the steps
        weight_decay=0.01,
        seed=settings["seed"],
        save_strategy="no",
        report_to="none",
        dataloader_pin_memory=False,
    )


if __name__ == "__main__":
    main()
