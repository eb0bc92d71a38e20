"""All of tempest's tests of identity.

What cannot pass stands in `EXPECTED` with the reason, and in docs/reference/identity.md: a test that passes although it stands there
fails the run just as one that fails and does not.  The cluster counts three wrong passwords, locks for two seconds and remembers two
passwords (clients/stage.py).
"""

from scenario import run, scenario
from tempest_runs import check, play

CONFIG = """
[auth]
admin_system = all
[identity]
user_lockout_failure_attempts = 3
user_lockout_duration = 2
user_unique_last_password_count = 2
[identity-feature-enabled]
api_v2_admin = false
trust = true
domain_specific_drivers = true
security_compliance = true
access_rules = true
"""

# Class and test -> how it ends, and why.
EXPECTED: dict[str, tuple[str, str]] = {
    "CredentialsTestJSON.test_credentials_create_get_update_delete": ("FAILED", "gives a key of S3 another access key, which is refused"),
}


@scenario
def all_of_identity():
    found = play(CONFIG, "--regex", "tempest.api.identity")
    check(found, EXPECTED)
    assert len(found) > 130, f"only {len(found)} tests were run"


run()
