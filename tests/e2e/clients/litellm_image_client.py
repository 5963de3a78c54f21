"""Run by test_images in the clients' own environment: litellm, unmodified. URL MODEL IMAGE -> one line of JSON."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no look at the internet at import

import litellm


def main() -> None:
    url, model, image, before, after = sys.argv[1:]
    parts = [
        {"type": "text", "text": before},
        {"type": "image_url", "image_url": {"url": image}},
        {"type": "text", "text": after},
    ]
    answer = litellm.completion(
        model=f"openai/{model}",
        api_base=url,
        api_key="none",
        messages=[{"role": "user", "content": parts}],
        temperature=0,
        max_tokens=18,
    )
    usage = answer.usage.prompt_tokens_details
    print(json.dumps({"text": answer.choices[0].message.content, "image_tokens": usage.image_tokens}))


main()
