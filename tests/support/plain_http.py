"""What clients of plain HTTP trust: nothing. To read the system's certificates costs more than what they ask."""

import ssl
from typing import Final

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
