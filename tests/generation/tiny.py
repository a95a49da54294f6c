"""Random decoders that are far from uniform, and plain loops to compare with."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from wordgaze.generation.config import GenerationConfig
from wordgaze.generation.outputs import Caption
from wordgaze.models.config import DecoderConfig
from wordgaze.models.decoder import Decoder
from wordgaze.text.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary

CHANNELS, CELLS = 5, 4


def model(words: int, seed: int) -> tuple[Decoder, Vocabulary]:
    """A decoder over ``words`` words besides the special tokens."""
    return decoder_of(Vocabulary(SPECIAL + tuple(f"w{i}" for i in range(words))), seed)


def decoder_of(vocabulary: Vocabulary, seed: int) -> tuple[Decoder, Vocabulary]:
    torch.manual_seed(seed)
    sizes = DecoderConfig(
        embedding_size=6,
        hidden_size=8,
        attention_size=6,
        feature_size=0,
        dropout_embedding=0.5,
        dropout_features=0.5,
        dropout_output=0.5,
    )
    decoder = Decoder(sizes, CHANNELS, len(vocabulary)).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    with torch.no_grad():
        decoder.lm_head.bias[END] += 1.0  # captions of all lengths
    return decoder, vocabulary


def with_bias(decoder: Decoder, word: int, value: float) -> Decoder:
    with torch.no_grad():
        decoder.lm_head.bias[word] = value
    return decoder


def pictures(count: int) -> Tensor:
    return torch.randn(count, CELLS, CHANNELS, generator=torch.Generator().manual_seed(7))


def settings(strategy: str, **values: object) -> GenerationConfig:
    return GenerationConfig.model_validate({"strategy": strategy, **values})


def beam(width: int, **values: object) -> GenerationConfig:
    return settings("beam", num_beams=width, **values)


@torch.no_grad()
def argmax_loop(decoder: Decoder, picture: Tensor, max_new_tokens: int) -> list[int]:
    memory = decoder.encode(picture.unsqueeze(0))
    state, word, words = decoder.init_state(memory, 1), START, []
    for _ in range(max_new_tokens):
        logits, state, _ = decoder.step(torch.tensor([word]), decoder.prepare_step(state, memory), memory)
        logits[:, [PAD, START, UNK]] = -torch.inf
        word = int(logits.argmax())
        if word == END:
            break
        words.append(word)
    return words


@torch.no_grad()
def rescored(decoder: Decoder, picture: Tensor, words: list[int]) -> float:
    """The log probability of these indices by teacher forcing."""
    taught = decoder(picture.unsqueeze(0), torch.tensor([[words]]))
    return -float(cross_entropy(taught.logits, taught.targets, reduction="sum"))


def token_ids(caption: Caption, vocabulary: Vocabulary) -> list[int]:
    """The token ids of a caption, END included where it was generated."""
    words = [vocabulary.index[word] for word in caption.words]
    return [*words, END] if caption.finish_reason == "end" else words


def words_of(vocabulary: Vocabulary, token_ids: Sequence[int]) -> tuple[str, ...]:
    """The words before END."""
    return tuple(vocabulary.words[i] for i in token_ids if i != END)
