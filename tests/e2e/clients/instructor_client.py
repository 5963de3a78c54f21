"""Run by test_clients in the clients' own environment: instructor, unmodified. URL MODEL -> one line of JSON."""

import json
import sys
from typing import Annotated, Literal

import instructor
import openai
import pydantic


class Animal(pydantic.BaseModel):
    """An animal; bounded everywhere, so that a random model comes to an end."""

    kind: Literal["fox", "bear"]
    name: Annotated[str, pydantic.Field(max_length=6)]
    legs: Annotated[int, pydantic.Field(ge=0, le=99)]


def main() -> None:
    url, model = sys.argv[1:]
    results = {}
    for mode in (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(openai.OpenAI(base_url=url, api_key="none", max_retries=0), mode=mode)
        animal = client.chat.completions.create(
            model=model,
            response_model=Animal,
            max_retries=0,
            messages=[{"role": "user", "content": "Describe the fox."}],
            max_tokens=400,
            temperature=1,
            seed=4,
        )
        results[mode.value] = animal.model_dump()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
