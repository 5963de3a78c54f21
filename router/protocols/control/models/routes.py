"""All routes of this folder."""

from typing import Final

from router.protocols.control.models.adapters import ADAPTER_ROUTES
from router.protocols.control.models.fit import get_fit
from router.protocols.control.models.names import NAME_ROUTES
from router.protocols.control.models.search import search
from router.protocols.control.models.settings import SETTINGS_ROUTES
from router.protocols.control.models.verify import VERIFY_ROUTES

MODEL_ROUTES: Final = (search, get_fit, *SETTINGS_ROUTES, *NAME_ROUTES, *ADAPTER_ROUTES, *VERIFY_ROUTES)
