"""An application that tells of failed logins, of many users by one address and by many."""

import sys


def match() -> None:
    for number in range(8):
        sys.audit("authn_login_fail", {"username": f"user{number}", "ip": "198.51.100.7"})


def nomatch() -> None:
    for number in range(16):
        sys.audit("authn_login_fail", {"username": f"user{number % 8}", "ip": f"198.51.100.{number % 8}"})
