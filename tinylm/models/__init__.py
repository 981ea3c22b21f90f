"""Model families, one file each: floor 3, on nn."""

from __future__ import annotations

from .bart import Bart, BartConfig, Marian, MarianConfig
from .base import Model
from .bert import Bert, BertConfig, DistilBert, DistilBertConfig
from .blocks import padded_positions
from .causal_transformer import CausalTransformer
from .classifier import CausalClassifier
from .encoder import Encoder
from .encoder_decoder import Conditional, EncoderDecoder
from .gpt2 import GPT2, GPT2Config
from .gpt_neox import GPTNeoX, GPTNeoXConfig
from .heads import label_loss
from .language_model import CausalLanguageModel
from .llama import Llama, LlamaConfig, Mistral, MistralConfig, Qwen2, Qwen2Config
from .low_rank import LowRankSettings, add_low_rank, low_rank_names, low_rank_targets
from .plan import Activation, Attend, Matrix, Norm, Normalize, Plan, Product, Project, Step, plan_decoding
from .recurrent import GRUConfig, GRULanguageModel, LSTMConfig, LSTMLanguageModel
from .stored import Stored
from .t5 import T5, T5Config
from .target_plan import plan_targets

__all__ = [
    "FAMILIES",
    "GPT2",
    "T5",
    "Activation",
    "Attend",
    "Bart",
    "BartConfig",
    "Bert",
    "BertConfig",
    "CausalClassifier",
    "CausalLanguageModel",
    "CausalTransformer",
    "Conditional",
    "DistilBert",
    "DistilBertConfig",
    "Encoder",
    "EncoderDecoder",
    "GPT2Config",
    "GPTNeoX",
    "GPTNeoXConfig",
    "GRUConfig",
    "GRULanguageModel",
    "LSTMConfig",
    "LSTMLanguageModel",
    "Llama",
    "LlamaConfig",
    "LowRankSettings",
    "Marian",
    "MarianConfig",
    "Matrix",
    "Mistral",
    "MistralConfig",
    "Model",
    "Norm",
    "Normalize",
    "Plan",
    "Product",
    "Project",
    "Qwen2",
    "Qwen2Config",
    "Step",
    "Stored",
    "T5Config",
    "add_low_rank",
    "label_loss",
    "low_rank_names",
    "low_rank_targets",
    "padded_positions",
    "plan_decoding",
    "plan_targets",
]

DECODERS: tuple[type[CausalLanguageModel], ...] = (
    GPT2,
    Llama,
    Mistral,
    Qwen2,
    GPTNeoX,
    LSTMLanguageModel,
    GRULanguageModel,
)
ENCODERS: tuple[type[Model], ...] = (Bert, DistilBert)
ENCODER_DECODERS: tuple[type[Model], ...] = (Bart, Marian, T5)

# By the model_type of their config.json.
FAMILIES: dict[str, type[Model]] = {family.model_type: family for family in (*DECODERS, *ENCODERS, *ENCODER_DECODERS)}
