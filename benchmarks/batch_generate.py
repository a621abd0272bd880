"""What people write instead of a server: `LLM.generate` over all prompts. Run by `batch.py`, with vLLM's own Python.

    python batch_generate.py JOBS RESULT OUTPUT_TOKENS --model MODEL [any engine option of vLLM]

The chat template is applied before the clock starts; reading the text as tokens and writing the answers as text is not.
"""

import json
import sys
import time
from pathlib import Path

from vllm import LLM, EngineArgs, SamplingParams
from vllm.utils.argparse_utils import FlexibleArgumentParser


def main():
    jobs, result, output_tokens, *arguments = sys.argv[1:]
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    options = vars(EngineArgs.from_cli_args(parser.parse_args(arguments)))
    engine = LLM(**{**options, "disable_log_stats": True})  # as LLM does by itself
    tokenizer = engine.get_tokenizer()
    lines = Path(jobs).read_text(encoding="utf-8").splitlines()
    texts = [
        tokenizer.apply_chat_template(json.loads(line)["body"]["messages"], tokenize=False, add_generation_prompt=True)
        for line in lines
    ]
    wanted = SamplingParams(temperature=0, max_tokens=int(output_tokens), ignore_eos=True)
    engine.generate(texts[:1], SamplingParams(temperature=0, max_tokens=1), use_tqdm=False)
    began = time.monotonic()
    answers = engine.generate(texts, wanted, use_tqdm=False)
    ended = time.monotonic()
    found = {
        "began": began,
        "ended": ended,
        "requests": len(answers),
        "prompt_tokens": sum(len(answer.prompt_token_ids) for answer in answers),
        "generation_tokens": sum(len(answer.outputs[0].token_ids) for answer in answers),
    }
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":  # vLLM's engine core is spawned and imports this module again
    main()
