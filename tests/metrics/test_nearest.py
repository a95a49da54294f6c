"""Nearest neighbours by cosine."""

import torch
from torch.nn.functional import normalize

from wordgaze.metrics.nearest import NearestSearch, nearest


def test_the_most_similar_come_first() -> None:
    generator = torch.Generator().manual_seed(3)
    queries = normalize(torch.randn(150, 6, generator=generator), dim=1)
    keys = normalize(torch.randn(40, 6, generator=generator), dim=1)
    found = nearest(queries, keys, 5)
    similarity = queries @ keys.T
    for query, row in enumerate(found.tolist()):
        assert row == sorted(range(40), key=lambda key: -float(similarity[query, key]))[:5]


def test_of_equally_similar_keys_the_first_comes_first() -> None:
    keys = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    assert nearest(torch.tensor([[1.0, 0.0]]), keys, 3).tolist() == [[1, 2, 3]]


def test_no_query_has_no_neighbours() -> None:
    assert nearest(torch.zeros(0, 2), torch.eye(2), 1).shape == (0, 1)


def test_keys_in_parts_have_the_neighbours_of_all_keys() -> None:
    random = torch.Generator().manual_seed(1)
    queries, keys = (torch.randint(-2, 3, (count, 4), generator=random).float() for count in (70, 90))  # many ties
    search = NearestSearch(queries, 7)
    for part in keys.split(40):
        search.add(part)
    assert search.num_keys == 90
    assert torch.equal(search.indices, nearest(queries, keys, 7))
