"""Learning texts from texts, and conversations, against transformers on the same weights and batches."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from chat_templates import say
from families import DECODERS, ENCODER_DECODERS, V, in_ours
from float64 import in_float64
from tokenizers import Tokenizer

from tinylm.inference import ChatTemplate, answered_spans, conversation_ids
from tinylm.inference.chat import DEFAULT_TEMPLATE
from tinylm.nn import Module
from tinylm.optim import make_optimizer, make_schedule
from tinylm.tasks.teacher_forcing import TeacherForcing, continued, examples_of
from tinylm.text import train_bpe
from tinylm.training import Trainer

pytestmark = pytest.mark.oracle

STEPS, RATE, SMOOTHING = 50, 1e-3, 0.1
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "dropout_rate": 0.0}
NO_DROPOUT |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def pairs(conditional: bool, end: int):
    """Targets are their sources backwards."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(40):
        source = rng.integers(5, V, rng.integers(2, 8)).astype(np.int32)
        target = np.append(source[::-1], np.int32(end))
        both = np.concatenate([source, target])
        made.append((source, target) if conditional else continued(both, np.arange(len(both)) >= len(source)))
    return made


def our_losses(model: Module, task: TeacherForcing) -> list[float]:
    optimizer = make_optimizer("adamw", model, weight_decay=0.0, beta1=0.9, beta2=0.999, eps=1e-8)
    schedule = make_schedule(
        "constant", peak=RATE, final=RATE, warmup=0, steps=STEPS, decay_share=0.2, decay_shape="cosine", power=2.0
    )
    trainer = Trainer(model, task, optimizer, schedule, steps=STEPS, clip=1.0)
    model.train()
    return [trainer.train_step().loss for _ in range(STEPS)]


def their_losses(model, task: TeacherForcing) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    model.train()
    for step in range(STEPS):
        batch = task.batch(step, slice(0, task.batch_size))
        given = {"input_ids": torch.tensor(batch["ids"]).long()}
        targets = torch.tensor(batch["targets"]).long()
        if task.train.conditional:
            given |= {"attention_mask": torch.tensor(batch["key_mask"]).long(), "labels": targets}
        logits = model(**given).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-100, label_smoothing=SMOOTHING
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bart", "marian", "t5", "gpt2", "llama"])
def test_fifty_steps_take_the_curve_of_transformers(name: str) -> None:
    case = {**DECODERS, **ENCODER_DECODERS}[name]
    case = dataclasses.replace(case, settings={**case.settings, **NO_DROPOUT})
    conditional = name in ENCODER_DECODERS
    theirs = case.build()
    ours = in_ours(case, theirs)
    for parameter in ours.parameters():
        parameter.data = parameter.data.astype(np.float64)
    end = case.settings.get("eos_token_id", 1)
    padding = theirs.config.pad_token_id or 0
    made = examples_of(pairs(conditional, end), conditional=conditional, padding=padding)
    task = TeacherForcing(made, None, batch_size=8, seed=1, label_smoothing=SMOOTHING)
    with in_float64(case.family):
        mine, expected = our_losses(ours, task), their_losses(theirs, task)
    assert expected[-1] < 0.95 * expected[0]
    np.testing.assert_allclose(mine, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "conversation", [say("Hi", "Yes."), say("a b", " c ", "d", "e\n\nf", system="S"), say("你好", "你好。")]
)
def test_the_tokens_that_count_are_those_of_transformers(conversation) -> None:
    tokenizer = train_bpe(["User:\n\nAssistant:\n Hi Yes. a b c 你好。" * 5], 290)
    template = ChatTemplate(DEFAULT_TEMPLATE, {"eos_token": "<|endoftext|>"})
    ids, answered = conversation_ids(tokenizer, answered_spans(template, conversation))

    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(tokenizer.to_json())), eos_token="<|endoftext|>"
    )
    fast.chat_template = DEFAULT_TEMPLATE
    expected = fast.apply_chat_template(
        conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    assert ids.tolist() == expected["input_ids"]
    assert answered.astype(int).tolist() == expected["assistant_masks"]
