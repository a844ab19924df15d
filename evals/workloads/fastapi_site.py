"""A service of FastAPI: validation, dependencies, background work, its own description; served by uvicorn too."""

import threading
import time
import urllib.request

import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

app = FastAPI()
kept: list[str] = []


class Order(BaseModel):
    """What a customer wants."""

    item: str
    amount: int = 1


def limit(most: int = 10) -> int:
    """How many are shown."""
    return most


@app.post("/orders")
async def order(wanted: Order, tasks: BackgroundTasks) -> Order:
    """Takes an order."""
    tasks.add_task(kept.append, wanted.item)
    return wanted


@app.get("/orders")
def orders(most: int = Depends(limit)) -> list[str]:
    """Shows orders."""
    return kept[:most]


client = TestClient(app)
for number in range(30):
    assert client.post("/orders", json={"item": f"item {number}"}).status_code == 200
assert client.post("/orders", json={"amount": "many"}).status_code == 422
print(len(client.get("/orders").json()), sorted(client.get("/openapi.json").json()["paths"]))
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
deadline = time.monotonic() + 20
while not server.started and time.monotonic() < deadline:
    time.sleep(0.05)
port = server.servers[0].sockets[0].getsockname()[1]
for _ in range(10):
    urllib.request.urlopen(f"http://127.0.0.1:{port}/orders", timeout=5).read()
server.should_exit = True
thread.join()
