"""A person with a browser, as a program: ``python -m tests.cli.browser DECISION LINK`` goes where a link leads.

``BROWSER`` may name it. Where our page asks for a credential, DECISION is what is typed, ``NAME=VALUE``, or ``cancel``.
It prints nothing; how the browser ended up stands in the file that ``BROWSER_LOG`` names.
"""

import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx2


def visit(link: str, decision: str) -> httpx2.Response:
    """Press Continue, decide at the provider, come back; answers the page at the return address."""
    broker = "{0.scheme}://{0.netloc}".format(urlsplit(link))
    with httpx2.Client(trust_env=False, timeout=60) as browser:
        form = {"decision": "continue"}
        if "=" in decision or decision == "cancel":
            name, _, value = decision.partition("=")
            form = {f"credentials.{name}": value} if value else {"decision": decision}
            sent = browser.post(link, data=form, headers={"Origin": broker})
            return browser.get(sent.headers["location"]) if sent.is_redirect else sent
        left = browser.post(link, data=form, headers={"Origin": broker})
        arrived = _decide(browser, left.headers["location"], decision)
        return browser.get(arrived.headers["location"])


def approve(broker: str, user_code: str) -> httpx2.Response:
    """Enter a machine's code, press Approve, allow everything at the provider; answers the page where that ends."""
    with httpx2.Client(trust_env=False, timeout=60) as browser:
        form = {"user_code": user_code, "decision": "approve"}
        left = browser.post(f"{broker}/device", data=form, headers={"Origin": broker})
        return _decide(browser, left.headers["location"], "allow")


def _decide(browser: httpx2.Client, authorize_url: str, decision: str) -> httpx2.Response:
    """Answer the provider's question, and come back; answers what the broker's callback says."""
    consent = browser.get(authorize_url)
    if consent.is_redirect:  # the provider finds something wrong, and asks nobody
        return browser.get(consent.headers["location"])
    form = {
        "form_token": re.findall(r'name="form_token" value="([^"]+)"', consent.text)[0],
        "account": "alice@practice.example",
        "scope": re.findall(r'name="scope" value="([^"]+)" checked', consent.text),
        "decision": decision,
    }
    answered = browser.post(str(consent.url.copy_with(query=None)), data=form)
    return browser.get(answered.headers["location"])


if __name__ == "__main__":
    decision, link = sys.argv[1:]
    page = visit(link, decision)
    Path(os.environ["BROWSER_LOG"]).write_text(f"{page.status_code}\n{page.text}")
