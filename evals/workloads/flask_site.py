"""A site of Flask with a database, sessions, uploads and templates, served for real on the loopback interface."""

import io
import pathlib
import threading
import urllib.request

import flask
from flask_sqlalchemy import SQLAlchemy
from werkzeug.serving import make_server

app = flask.Flask(__name__)
app.config.update(SECRET_KEY="not secret", SQLALCHEMY_DATABASE_URI="sqlite:///site.db")
db = SQLAlchemy(app)


class Note(db.Model):
    """A line of text."""

    id = db.Column(db.Integer, primary_key=True)
    text = db.Column(db.String)


@app.route("/", methods=["GET", "POST"])
def home() -> str:
    """Adds and shows notes."""
    if flask.request.method == "POST":
        db.session.add(Note(text=flask.request.form["text"]))
        db.session.commit()
    return flask.render_template_string(
        "{% for n in notes %}<p>{{ n.text }}</p>{% endfor %}", notes=Note.query.all()
    )


@app.post("/upload")
def upload() -> dict[str, int]:
    """Keeps a file."""
    flask.request.files["file"].save("uploaded.txt")
    return {"size": pathlib.Path("uploaded.txt").stat().st_size}


with app.app_context():
    db.create_all()
client = app.test_client()
for number in range(30):
    client.post("/", data={"text": f"note {number}"})
print(client.post("/upload", data={"file": (io.BytesIO(b"text"), "a.txt")}).json)
server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
for _ in range(10):
    urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=5).read()
server.shutdown()
