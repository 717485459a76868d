"""MemReranker: a reranker for conversational memory, whose prompt is known only from its checkpoint.

https://arxiv.org/abs/2605.06132, https://huggingface.co/IAAR-Shanghai/MemReranker-4B. The checkpoint has the layout of
a sentence-transformers CrossEncoder over a causal model: chat template, prompts and the tokens of its score are read
from its files. The 0.6B is served by its authors only; the format ``http`` speaks to it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import torch
from jinja2 import TemplateError
from sentence_transformers import CrossEncoder
from transformers import AutoModelForCausalLM

from cogs.memory.inference.model_folders import read_json, require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, to_probability
from cogs.memory.rerankers.causal import CausalReranker, load_model, load_tokenizer, make_scorer, torch_dtype
from cogs.memory.rerankers.packed.prompt_tokens import PromptTokenizer, PromptWriter
from cogs.memory.rerankers.prompts import Template, parse_template

log = logging.getLogger(__name__)

# A message template may trim or escape what it is given; each pair differs after one of these changes.
PROBES: Final = (("q", "d"), (" q ", "\nd\t"), ("", ""), ("<a>&\"'{{ x }}", "{% if %}\\n"), ("QUERY", "DOCUMENT"))
ACTIVATIONS: Final = (None, "torch.nn.modules.activation.Sigmoid", "torch.nn.modules.linear.Identity")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the checkpoint's files say: the tokens of the score, the message format and the instruction."""

    yes: int
    no: int | None
    structured: bool
    instruction: str | None
    template_values: dict[str, Any]


class MemReranker(CausalReranker):
    """``raw`` is the log-odds of the checkpoint's true token against its false one, packed."""

    scale: ClassVar[Scale] = "log_odds"


class MemRerankerThroughCrossEncoder(Reranker):
    """The same through sentence-transformers, for a chat template without a shared beginning.

    Args:
        spec: the entry of the reranker.
        options: device, dtype and limits.
        folder: the model's.
        instruction: what fills the template's system message; the model's own by default.
        special: special tokens, which are broken by a space where they stand in a text.
    """

    scale: ClassVar[Scale] = "log_odds"

    def __init__(
        self, spec: RerankerSpec, options: LoadOptions, folder: Path, instruction: str | None, special: Sequence[str]
    ) -> None:
        super().__init__(spec)
        self._model: Any = CrossEncoder(
            str(folder),
            device=options.device,
            local_files_only=True,
            trust_remote_code=False,
            max_length=spec.max_length,
            model_kwargs={"dtype": torch_dtype(options), "use_safetensors": True},
        )
        self._instruction = instruction
        self._special = tuple(token for token in special if len(token) > 1)
        self._batch_size = max(1, options.batch_tokens // max(1, options.max_document_tokens))

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score the documents; a special token in a text is broken by a space, since the template would read it."""
        if not documents:
            return []
        pairs = [(self._defused(query), self._defused(document.text)) for document in documents]
        raws = self._model.predict(
            pairs,
            prompt=self._instruction,
            batch_size=self._batch_size,
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
        ).tolist()
        return [Score(to_probability(raw, self.scale), raw) for raw in raws]

    def _defused(self, text: str) -> str:
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def close(self) -> None:
        """Free the model."""
        del self._model


def read_layout(folder: Path, spec: RerankerSpec) -> Layout:
    """Read what the checkpoint says of itself.

    Raises:
        RerankerUnavailable: it does not say it; nothing is guessed.
    """
    modules_file = folder / "modules.json"
    if not modules_file.is_file():
        raise RerankerUnavailable(
            f"The checkpoint of {spec.name} has no modules.json, so how it scores is not known; fetch it again."
        )
    modules: list[dict[str, Any]] = json.loads(modules_file.read_text(encoding="utf-8"))
    kinds = {str(module.get("type", "")).rpartition(".")[2]: module for module in modules}
    trusted = all(str(module.get("type", "")).startswith("sentence_transformers.") for module in modules)
    if not trusted or len(modules) != 2 or set(kinds) != {"Transformer", "LogitScore"}:
        raise RerankerUnavailable(f"The checkpoint of {spec.name} is not a language model with one LogitScore.")
    score = read_json(folder / str(kinds["LogitScore"].get("path", "")) / "config.json")
    yes, no = score.get("true_token_id"), score.get("false_token_id")
    if not isinstance(yes, int) or not (no is None or isinstance(no, int)):
        raise RerankerUnavailable(f"The LogitScore of {spec.name} does not name its tokens.")
    settings = read_json(folder / "config_sentence_transformers.json")
    if settings.get("activation_fn") not in ACTIVATIONS:
        raise RerankerUnavailable(
            f"The scores of {spec.name} pass {settings['activation_fn']}, which is not known here."
        )
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts") or {}
    if name is not None and name not in prompts:
        raise RerankerUnavailable(f"The default prompt {name!r} of {spec.name} is not among its prompts.")
    transformer = read_json(folder / "sentence_bert_config.json")
    modalities = transformer.get("modality_config") or {}
    message = modalities.get("message")
    if modalities and message is None:
        raise RerankerUnavailable(f"The checkpoint of {spec.name} does not take messages, so its prompt is not known.")
    values = dict((transformer.get("processing_kwargs") or {}).get("chat_template") or {})
    for size in ("restore_suffix", "truncation", "max_length", "padding"):
        values.pop(size, None)
    instruction = spec.instruction or (prompts.get(name) if name is not None else None) or None
    return Layout(yes, no, (message or {}).get("format") == "structured", instruction, values)


def render(tokenizer: Any, layout: Layout, query: str, document: str) -> str:
    """Render a pair by the checkpoint's chat template, as sentence-transformers does."""

    def content(text: str) -> Any:
        return [{"type": "text", "text": text}] if layout.structured else text

    messages = [{"role": "query", "content": content(query)}, {"role": "document", "content": content(document)}]
    if layout.instruction is not None:
        messages.insert(0, {"role": "system", "content": content(layout.instruction)})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **layout.template_values))


def derive_template(tokenizer: Any, layout: Layout, special_tokens: Sequence[str]) -> Template | None:
    """Return the prompt that the chat template writes, or ``None`` where it is more than text around the pair."""
    text = render(tokenizer, layout, "{query}", "{document}")
    try:
        template = parse_template(text, special_tokens)
    except ValueError:
        return None
    probes = (
        template.render("", query, document) == render(tokenizer, layout, query, document) for query, document in PROBES
    )
    return template if all(probes) else None


def load(spec: RerankerSpec, options: LoadOptions) -> Reranker:
    """Load the checkpoint, its prompt and its score read from its own files.

    Raises:
        RerankerUnavailable: a file that says how it prompts or scores is missing or not understood.
    """
    folder = require_folder(spec, options)
    require_safetensors(folder)
    layout = read_layout(folder, spec)
    tokenizer, prompts = load_tokenizer(folder, spec)
    if not getattr(tokenizer, "chat_template", None):
        raise RerankerUnavailable(
            f"The checkpoint of {spec.name} has no chat template, and its prompt is published nowhere else; fetch it "
            "again."
        )
    try:
        template = derive_template(tokenizer, layout, prompts.special_tokens)
    except TemplateError as error:
        raise RerankerUnavailable(
            f"The chat template of {spec.name} does not take a query and a document: {error}"
        ) from error
    if template is None:
        log.warning("the chat template of %s cannot be cut; it runs unpacked", spec.name)
        if options.dtype == "int8":
            raise RerankerUnavailable(f"{spec.name} can be INT8 only where its chat template can be cut.")
        return MemRerankerThroughCrossEncoder(spec, options, folder, layout.instruction, prompts.special_tokens)
    return _packed(spec, options, folder, layout, template, tokenizer, prompts)


def _packed(
    spec: RerankerSpec,
    options: LoadOptions,
    folder: Path,
    layout: Layout,
    template: Template,
    tokenizer: Any,
    prompts: PromptTokenizer,
) -> MemReranker:
    model: Any = load_model(AutoModelForCausalLM, folder, spec, torch_dtype(options)).to(options.device)
    rows = [layout.yes] if layout.no is None else [layout.yes, layout.no]
    if max(rows) >= len(model.lm_head.weight) or min(rows) < 0:
        raise RerankerUnavailable(f"The LogitScore of {spec.name} names tokens that its model does not have.")
    longest = min(spec.max_length, int(tokenizer.model_max_length), int(model.config.max_position_embeddings))
    writer = PromptWriter(prompts, template, "", longest, options.max_document_tokens, enclosed=False)
    readout = model.lm_head.weight[torch.tensor(rows, device=model.device)].clone()
    return MemReranker(spec, writer, make_scorer(spec, model.model, readout, options))
