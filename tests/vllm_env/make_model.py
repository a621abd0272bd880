"""Write a tiny Qwen3 with random weights: the smallest model that vLLM serves as it would a real one.

Run with the Python of the vLLM environment, no network needed: `python make_model.py FOLDER`. The same folder comes out
every time: the tokenizer learns from words that are made up here, and the weights come from a fixed seed.
"""

import random
import sys

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

SEED = 2_026
VOCABULARY = 2_048
CONTEXT = 8_192
END_OF_TEXT, TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = """\
{%- macro turn(role, text) %}<|im_start|>{{ role }}
{{ text }}<|im_end|>
{% endmacro -%}
{%- if tools %}{{ turn('system', 'Tools: ' ~ (tools | tojson)) }}{% endif -%}
{%- for message in messages -%}
  {%- set spoken = namespace(text='') -%}
  {%- if message.content is string -%}
    {%- set spoken.text = message.content -%}
  {%- elif message.content -%}
    {%- for part in message.content %}{% set spoken.text = spoken.text ~ (part.text or '') %}{% endfor -%}
  {%- endif -%}
  {%- for call in message.tool_calls or [] %}{% set spoken.text = spoken.text ~ (call.function | tojson) %}{% endfor -%}
  {{- turn(message.role, spoken.text) -}}
{%- endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""


def made_up_text(lines):
    """Yield lines of words put together from syllables, so that most tokens are letters and not stray bytes."""
    dice = random.Random(SEED)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in ("a", "e", "i", "o", "u", "an", "or")]
    words = ["".join(dice.choices(syllables, k=dice.randint(1, 4))) for _ in range(3_000)]
    for _ in range(lines):
        yield " ".join(dice.choices(words, k=12)) + dice.choice([".", ",", "?", "!", ":", "\n"])


def make_tokenizer():
    """Train a byte-level BPE tokenizer: any text goes in, as in Qwen's own."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteDecoder()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT, TURN, END_OF_TURN],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(made_up_text(2_000), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TURN, pad_token=END_OF_TEXT, model_max_length=CONTEXT
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def make_model(tokenizer):
    """Return a Qwen3 of two layers and about half a million random parameters."""
    torch.manual_seed(SEED)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def main(folder):
    """Write tokenizer and model to `folder`."""
    tokenizer = make_tokenizer()
    if len(tokenizer) != VOCABULARY:
        raise SystemExit(f"the tokenizer has {len(tokenizer)} tokens, not {VOCABULARY}")
    tokenizer.save_pretrained(folder)
    make_model(tokenizer).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
