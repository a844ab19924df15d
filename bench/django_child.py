"""A program to measure: 200 requests of Django's test client, each of which writes a row and reads some.

usage: django_child.py
"""

import django
from django.conf import settings
from django.db import connection, models
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY="measured",
)
django.setup()


class Order(models.Model):
    """What a request writes."""

    name = models.CharField(max_length=40)

    class Meta:
        app_label = "shop"


def order(request: HttpRequest, number: int) -> JsonResponse:
    """One more order, and the newest ten."""
    Order.objects.create(name=f"order {number}")
    return JsonResponse({"newest": list(Order.objects.order_by("-id").values_list("name", flat=True)[:10])})


urlpatterns = [path("<int:number>/", order)]

if __name__ == "__main__":
    with connection.schema_editor() as editor:
        editor.create_model(Order)
    client = Client()
    for number in range(200):
        assert client.get(f"/{number}/").status_code == 200
