"""Where the site is and as whom to speak: from the environment, set by the site tests."""

import json
import os

HTTP = os.environ["CYTO_HTTP"]
FLIGHT = os.environ["CYTO_FLIGHT"]
TENANT = os.environ["CYTO_TENANT"]
TOKEN = os.environ["CYTO_TOKEN"]
FOREIGN = os.environ["CYTO_FOREIGN"]


def report(**facts):
    """The one line the test reads."""
    print(json.dumps(facts))
