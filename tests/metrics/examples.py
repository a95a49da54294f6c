"""Three pictures, what people say of them and what a captioner says."""


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


REFERENCES = [
    words("a brown dog runs over grass", "a dog runs over the grass", "the dog"),
    words("two kids play with a ball", "kids play with a red ball"),
    words("a man rides a bike"),
]
CANDIDATES = words("a dog runs over grass", "two kids play with a dog", "a man rides a bike")
