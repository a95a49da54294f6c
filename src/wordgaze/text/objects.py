"""The objects that the words of a caption name: singulars, synonyms, names of several words."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from wordgaze.core.errors import ScoreError

_Tokens = Sequence[str]

_IRREGULAR = {
    "bikinis": "bikini", "cacti": "cactus", "calves": "calf", "canvases": "canvas", "children": "child", "dice": "die",
    "elves": "elf", "feet": "foot", "gases": "gas", "geese": "goose", "halves": "half", "hooves": "hoof",
    "kiwis": "kiwi", "knives": "knife", "leaves": "leaf", "lenses": "lens", "lives": "life", "loaves": "loaf",
    "mice": "mouse", "octopi": "octopus", "oxen": "ox", "people": "person", "quizzes": "quiz", "scarves": "scarf",
    "shelves": "shelf", "skis": "ski", "taxis": "taxi", "teeth": "tooth", "thieves": "thief", "wives": "wife",
    "wolves": "wolf",
}  # fmt: skip
_NO_PLURAL = {
    "abdomen",
    "always",
    "asparagus",
    "atlas",
    "canvas",
    "gas",
    "lens",
    "omen",
    "series",
    "specimen",
    "species",
}
_KEEP_E = {"aches", "avalanches", "canoes", "caches", "headaches", "hoes", "moustaches", "mustaches", "oboes", "toes"}
_KEEP_IE = {
    "beanies", "birdies", "bowties", "brownies", "calories", "collies", "cookies", "doggies", "genies", "goalies",
    "hippies", "hoodies", "magpies", "movies", "neckties", "pixies", "rookies", "selfies", "smoothies", "zombies",
}  # fmt: skip


@cache
def singular(word: str) -> str:
    """The singular of a noun: ``buses`` → ``bus``. Other words are returned unchanged: ``bus``, ``grass``, ``sheep``.

    Rules of English spelling with a table of exceptions, for common nouns in lower case; there is no dictionary.
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _NO_PLURAL or len(word) < 3:
        return word
    if word.endswith("men"):
        return f"{word[:-3]}man"
    if not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-1] if len(word) < 5 or word in _KEEP_IE else f"{word[:-3]}y"
    return word[:-2] if _adds_es(word) else word[:-1]


def _adds_es(word: str) -> bool:
    """Whether a plural in -es belongs to a noun without e: boxes, buses, potatoes; not horses, houses, shoes."""
    if word in _KEEP_E or word.endswith(("shoes", "ouses")):
        return False
    return word.endswith(("sses", "shes", "ches", "xes", "oes", "uses"))


class Mention(NamedTuple):
    """An object that a caption names with ``words[start:stop]``."""

    name: str
    start: int
    stop: int


class Lexicon:
    """Maps words to the objects that they name.

    ``names`` are the objects, of one word or several; they are recognised in singular and plural. ``synonyms`` maps
    further words to a name. ``traps`` are phrases that name no object although a word in them would: "train station".
    Raises ScoreError for a synonym of an object that is not in ``names``, and for a blank name or phrase.
    """

    def __init__(
        self, names: Iterable[str], synonyms: Mapping[str, str] | None = None, traps: Iterable[str] = ()
    ) -> None:
        self.names = frozenset(names)
        self._phrases: dict[tuple[str, ...], str | None] = {_key(trap.split()): None for trap in traps}
        for phrase, name in (synonyms or {}).items():
            if name not in self.names:
                raise ScoreError(f"{phrase!r} is a synonym of {name!r}, which is not in the lexicon; add it to names")
            self._phrases[_key(phrase.split())] = name
        self._phrases |= {_key(name.split()): name for name in self.names}
        self._longest = max(map(len, self._phrases), default=0)

    def mentions(self, words: _Tokens) -> list[Mention]:
        """The objects that a tokenized caption names, in order. The longest phrase wins: a "hot dog" is not a dog."""
        mentions: list[Mention] = []
        start = 0
        while start < len(words):
            for stop in range(min(start + self._longest, len(words)), start, -1):
                key = _key(words[start:stop])
                if key in self._phrases:
                    name = self._phrases[key]
                    mentions += [Mention(name, start, stop)] if name else []
                    start = stop - 1
                    break
            start += 1
        return mentions


def _key(words: _Tokens) -> tuple[str, ...]:
    if not words:
        raise ScoreError("a name or phrase of the lexicon is blank; leave it out")
    return (*words[:-1], singular(words[-1]))


_COCO = """
person: people man woman boy girl child kid baby toddler infant guy gentleman lady adult teenager pedestrian passenger
  rider cyclist biker bicyclist motorcyclist skateboarder skier snowboarder surfer player batter pitcher catcher umpire
  referee chef cook waiter waitress worker officer policeman cop fireman soldier bride groom couple crowd family friend
  mother father mom dad son daughter brother sister student teacher farmer driver spectator tourist skater swimmer
bicycle: bike cycle
car: automobile sedan taxi cab taxi+cab taxicab suv minivan van jeep convertible limousine
motorcycle: motorbike motor+bike motor+cycle dirt+bike moped scooter
airplane: plane aeroplane aircraft airliner jet jetliner jet+plane passenger+jet passenger+plane biplane
bus: minibus trolleybus double+decker double+decker+bus passenger+bus
train: locomotive steam+engine passenger+train
truck: pickup pickup+truck lorry semi semi+truck firetruck fire+engine
boat: ship sailboat rowboat canoe kayak yacht ferry dinghy gondola speedboat motorboat raft
traffic light: stoplight stop+light traffic+signal street+signal
fire hydrant: hydrant
stop sign:
parking meter:
bench: pew
bird: duck duckling goose seagull gull pigeon parrot parakeet owl eagle hawk swan pelican penguin flamingo ostrich
  rooster peacock crow sparrow heron
cat: kitten kitty tabby
dog: puppy pup hound terrier labrador poodle dachshund bulldog collie
horse: pony foal colt mare stallion
sheep: lamb ewe ram
cow: bull calf cattle ox
elephant:
bear: grizzly grizzly+bear panda panda+bear
zebra:
giraffe:
backpack: rucksack knapsack book+bag back+pack
umbrella: parasol
handbag: purse hand+bag
tie: necktie bowtie
suitcase: suit+case luggage
frisbee:
skis: ski
snowboard: snow+board
sports ball: ball basketball volleyball
kite:
baseball bat: bat
baseball glove: mitt catcher+'s+mitt
skateboard: skate+board longboard
surfboard: surf+board
tennis racket: racket racquet
bottle:
wine glass: wineglass
cup: mug teacup
fork:
knife:
spoon: ladle
bowl:
banana:
apple:
sandwich: burger hamburger cheeseburger panini
orange:
broccoli:
carrot:
hot dog: hotdog chili+dog corn+dog
pizza:
donut: doughnut
cake: cupcake cup+cake cheesecake carrot+cake
chair: armchair recliner stool seat
couch: sofa loveseat love+seat
potted plant: houseplant house+plant
bed: mattress
dining table: table desk
toilet: urinal toilet+seat toilet+bowl commode
tv: television monitor computer+screen
laptop: notebook+computer
mouse:
remote:
keyboard:
cell phone: phone cellphone telephone smartphone iphone
microwave: microwave+oven
oven: stove toaster+oven pizza+oven
toaster:
sink: washbasin
refrigerator: fridge freezer
book:
clock:
vase:
scissors:
teddy bear: teddy stuffed+bear stuffed+animal
hair drier: hair+dryer hairdryer blow+dryer
toothbrush: tooth+brush
"""
_COCO_TRAPS = """
train+track train+station train+platform bus+stop bus+station bus+shelter bus+lane car+seat bike+lane bike+path
bike+rack bike+seat boat+dock boat+house truck+stop dog+food dog+house cat+food bird+house bird+cage bird+feeder
bird+bath ski+lift ski+pole ski+slope ski+resort ski+boot ski+jump ski+jacket chair+lift table+tennis table+cloth
table+top ball+game ball+field apple+pie apple+sauce banana+bread orange+juice pizza+box pizza+cutter pizza+pan
book+shelf book+case toilet+paper toilet+brush sink+faucet oven+mitt mouse+pad tv+stand tv+show phone+booth
cup+holder bottle+opener knife+block flower+bed family+room baby+carriage couple+of
"""
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")


def lexicon_of(nouns: Iterable[str]) -> Lexicon:
    """COCO's names of objects with their synonyms where these cover all nouns, else the nouns themselves."""
    names, coco = frozenset(nouns), coco_lexicon()
    return coco if names <= coco.names else Lexicon(names)


def coco_lexicon() -> Lexicon:
    """The 80 objects of COCO with everyday synonyms, and phrases in which the word of an object has another meaning.

    "Baby elephant" names an elephant and not a person; "train station" does not name a train. Words are not
    disambiguated beyond such phrases: "orange" counts as the fruit even as a colour, "skis" even as a verb.
    """
    synonyms: dict[str, str] = {}
    names = []
    for line in _COCO.strip().replace("\n  ", " ").splitlines():
        name, _, words = line.partition(":")
        names.append(name)
        synonyms |= {word.replace("+", " "): name for word in words.split()}
    synonyms |= {f"{young} {animal}": animal for young in ("baby", "adult", "mother") for animal in _ANIMALS}
    return Lexicon(names, synonyms, (trap.replace("+", " ") for trap in _COCO_TRAPS.split()))
