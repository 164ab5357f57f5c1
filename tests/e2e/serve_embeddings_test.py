"""Embeddings by the real clients of OpenAI and Ollama against `hadal serve`, on a small real model that chats meanwhile."""

import base64
import json
import math
import struct
import threading

import pytest

from real_servers import CHINESE, CODER, need_client, start

need_client("openai")
need_client("ollama")

import ollama  # noqa: E402
import openai  # noqa: E402

WIDTH = 896
TEXTS = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "def add(a, b): return a + b", CHINESE, "x"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start(tmp_path_factory, CODER, "--context", "512", "--parallel", "4") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.address + "/v1", api_key="none", max_retries=0, timeout=300) as made:
        yield made


@pytest.fixture(scope="module")
def ollama_client(server):
    return ollama.Client(host=server.address, timeout=300)


def embed(client, text, **options):
    return client.embeddings.create(model=CODER, input=text, **options)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


# Cosine of a text's vectors alone and in a batch, which round otherwise (docs/architecture.md).
ALIKE = 0.9997


@pytest.fixture(scope="module")
def vectors(client):
    return [entry.embedding for entry in embed(client, TEXTS).data]


def test_each_text_has_its_vector(client, vectors):
    assert [len(vector) for vector in vectors] == [WIDTH] * len(TEXTS)
    for text, vector in zip(TEXTS, vectors):
        assert abs(math.sqrt(sum(x * x for x in vector)) - 1) < 1e-5
        alone = embed(client, text)
        assert alone.object == "list" and alone.model == CODER and alone.data[0].index == 0
        assert cosine(alone.data[0].embedding, vector) > ALIKE
    assert cosine(vectors[0], vectors[1]) > max(cosine(vectors[0], other) for other in vectors[2:])


def test_all_forms_say_the_same(server, client, vectors):
    tokens = [server.ask("POST", "/tokenize", {"prompt": text})[2]["tokens"] for text in TEXTS]
    by_tokens = embed(client, tokens, encoding_format="float")
    assert by_tokens.usage.prompt_tokens == by_tokens.usage.total_tokens == sum(map(len, tokens))
    for vector, entry in zip(vectors, by_tokens.data):
        assert cosine(vector, entry.embedding) > ALIKE
    assert cosine(embed(client, tokens[0]).data[0].embedding, vectors[0]) > ALIKE
    body = {"model": CODER, "input": TEXTS[2]}
    numbers = server.ask("POST", "/v1/embeddings", body)[2]["data"][0]["embedding"]
    coded = server.ask("POST", "/v1/embeddings", {**body, "encoding_format": "base64"})[2]["data"][0]["embedding"]
    assert list(struct.unpack(f"<{WIDTH}f", base64.b64decode(coded))) == [struct.unpack("<f", struct.pack("<f", x))[0] for x in numbers]


def test_more_texts_than_run_at_once(client):
    texts = [f"Text number {i}." for i in range(20)]
    many = embed(client, texts)
    assert [entry.index for entry in many.data] == list(range(20))
    assert cosine(many.data[19].embedding, embed(client, texts[19]).data[0].embedding) > ALIKE


def test_the_model_chats_meanwhile(client):
    def answer():
        return client.chat.completions.create(model=CODER, temperature=0, max_tokens=12, messages=[
            {"role": "user", "content": "What is the capital of France? Answer in one word."}]).choices[0].message.content
    failures, answers = [], []

    def many():
        try:
            embed(client, [f"The quick brown fox number {i} jumps over the lazy dog. " * 3 for i in range(30)])
        except Exception as error:  # told on the main thread
            failures.append(error)
    other = threading.Thread(target=many)
    other.start()
    while other.is_alive():
        answers.append(answer())
    assert not failures and len(answers) > 1 and all("Paris" in text for text in answers), (failures, answers)


def test_errors_are_the_clients_own(client, ollama_client):
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.embeddings.create(model="other", input="x")
    with pytest.raises(openai.BadRequestError, match=f"dimensions can only be {WIDTH}"):
        embed(client, "x", dimensions=64)
    assert len(embed(client, "x", dimensions=WIDTH).data[0].embedding) == WIDTH
    with pytest.raises(openai.BadRequestError, match="input"):
        embed(client, "")
    with pytest.raises(openai.BadRequestError, match="unheard"):
        embed(client, "x", extra_body={"unheard": 1})
    with pytest.raises(openai.BadRequestError) as long:
        embed(client, ["fine", "word " * 2000])
    assert long.value.code == "context_length_exceeded" and long.value.body["n_ctx"] == 512 and "text 1" in str(long.value)
    with pytest.raises(ollama.ResponseError, match="tokens") as refused:
        ollama_client.embed(model=CODER, input="word " * 2000)
    assert refused.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="dimensions"):
        ollama_client.embed(model=CODER, input="x", dimensions=64)


def test_ollamas_client(server, ollama_client, vectors):
    made = ollama_client.embed(model=f"{CODER}:latest", input=TEXTS, keep_alive="1h")
    assert made.model == f"{CODER}:latest" and made.prompt_eval_count > 20 and made.total_duration > made.load_duration >= 0
    for vector, other in zip(vectors, made.embeddings):
        assert cosine(vector, other) > ALIKE
    cut = ollama_client.embed(model=CODER, input=["x", "word " * 2000], truncate=True)
    assert cut.prompt_eval_count < 600 and len(cut.embeddings) == 2
    body = server.ask("POST", "/api/embed", {"model": CODER, "input": ["x", "word " * 2000, "y"], "truncate": True})[2]
    assert body["truncated"] == [1], "what was cut is told"
    assert not ollama_client.embed(model=CODER, input="").embeddings
    older = ollama_client.embeddings(model=CODER, prompt=TEXTS[0]).embedding
    assert cosine(older, vectors[0]) > ALIKE and sum(x * x for x in older) > 2, "not of unit length"


def test_a_client_that_leaves_frees_its_place(server):
    body = json.dumps({"input": [f"Something long to think about, number {i}. " * 8 for i in range(500)]}).encode()
    connection = server.connect()
    connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    while server.answers_under_way() == 0:
        pass
    connection.close()
    server.wait_until_idle(20)
