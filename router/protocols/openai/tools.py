"""The tools of a chat request. What they come to is the same in every protocol (`fields/tools.py`). Pure."""

from router.protocols.fields.tools import RequestTools, tools_for
from router.protocols.openai.schemas import ChatRequest


def request_tools(request: ChatRequest) -> RequestTools:
    """Return the tools that a request may use.

    Raises:
        InvalidRequestError: A tool or the choice is not well formed, or they do not fit each other.
    """
    functions = [tool.function for tool in request.tools or []]
    return tools_for(functions, request.tool_choice, is_parallel=request.parallel_tool_calls is not False)
