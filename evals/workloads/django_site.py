"""A site of Django in one file: migrations, a model, a view, a template, sessions, log-in, mail."""

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

settings.configure(
    DEBUG=True,
    SECRET_KEY="not secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend",
    EMAIL_FILE_PATH="mail",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.test import Client


def home(request: HttpRequest) -> HttpResponse:
    """Counts visits and lists users."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    template = engines["django"].from_string(
        "{{ visits }}: {% for user in users %}{{ user.username }}, {% endfor %}"
    )
    return HttpResponse(template.render({"visits": request.session["visits"], "users": User.objects.all()}))


urlpatterns = [path("", home)]

call_command("check")
call_command("migrate", verbosity=0)
for number in range(20):
    User.objects.create_user(f"user{number}", password="x")
client = Client()
for _ in range(50):
    assert client.get("/").status_code == 200
send_mail("subject", "text", "a@site.example", ["b@site.example"])
call_command("dumpdata", output="dump.json", verbosity=0)
