"""Captions in Simplified Chinese: a measure word between number and noun, no plural, no blanks."""

from collections.abc import Sequence

from wordgaze.data.datasets.scenes.compose import Group, Scene

CHINESE_NOUNS = {  # the measure word, and the noun
    "airplane": ("架", "飞机"),
    "anchor": ("个", "船锚"),
    "apple": ("个", "苹果"),
    "ball": ("个", "足球"),
    "balloon": ("个", "气球"),
    "banana": ("根", "香蕉"),
    "bell": ("个", "铃铛"),
    "bicycle": ("辆", "自行车"),
    "bird": ("只", "鸟"),
    "boat": ("艘", "帆船"),
    "book": ("本", "书"),
    "bus": ("辆", "公交车"),
    "butterfly": ("只", "蝴蝶"),
    "cactus": ("棵", "仙人掌"),
    "cake": ("个", "蛋糕"),
    "camel": ("头", "骆驼"),
    "camera": ("台", "相机"),
    "car": ("辆", "汽车"),
    "carrot": ("根", "胡萝卜"),
    "castle": ("座", "城堡"),
    "cat": ("只", "猫"),
    "chair": ("把", "椅子"),
    "clock": ("个", "闹钟"),
    "cow": ("头", "奶牛"),
    "crab": ("只", "螃蟹"),
    "crown": ("顶", "皇冠"),
    "dog": ("只", "狗"),
    "drum": ("面", "鼓"),
    "duck": ("只", "鸭子"),
    "elephant": ("头", "大象"),
    "giraffe": ("只", "长颈鹿"),
    "guitar": ("把", "吉他"),
    "hat": ("顶", "帽子"),
    "helicopter": ("架", "直升机"),
    "horse": ("匹", "马"),
    "house": ("座", "房子"),
    "kangaroo": ("只", "袋鼠"),
    "key": ("把", "钥匙"),
    "kite": ("只", "风筝"),
    "monkey": ("只", "猴子"),
    "motorcycle": ("辆", "摩托车"),
    "mushroom": ("个", "蘑菇"),
    "octopus": ("只", "章鱼"),
    "owl": ("只", "猫头鹰"),
    "penguin": ("只", "企鹅"),
    "pig": ("头", "猪"),
    "pineapple": ("个", "菠萝"),
    "pumpkin": ("个", "南瓜"),
    "rabbit": ("只", "兔子"),
    "robot": ("个", "机器人"),
    "sheep": ("只", "绵羊"),
    "snail": ("只", "蜗牛"),
    "snake": ("条", "蛇"),
    "strawberry": ("颗", "草莓"),
    "sunflower": ("朵", "向日葵"),
    "teapot": ("把", "茶壶"),
    "tent": ("顶", "帐篷"),
    "tiger": ("只", "老虎"),
    "tractor": ("台", "拖拉机"),
    "train": ("列", "火车"),
    "tree": ("棵", "树"),
    "truck": ("辆", "卡车"),
    "turtle": ("只", "乌龟"),
    "umbrella": ("把", "雨伞"),
}
CHINESE_PLACES = {  # the place, and the word for being there
    "beach": ("海滩", "上"),
    "street": ("街道", "上"),
    "field": ("田野", "里"),
    "park": ("公园", "里"),
    "desert": ("沙漠", "里"),
    "lake": ("湖", "边"),
    "room": ("房间", "里"),
    "snowy hill": ("雪山", "上"),
}
_TIMES = {"day": "", "sunset": "日落时的", "night": "夜晚的"}
_NUMBERS = {1: "一", 2: "两", 3: "三"}
_RELATIONS = {  # of the first group to the others, and of the others to the first
    "row": ("左边", "右边"),
    "beside": ("旁边", "右边"),
    "stack": ("上方", "下方"),
}


def chinese_captions(scene: Scene) -> tuple[str, ...]:
    """The five forms; see :mod:`wordgaze.data.datasets.scenes.grammar`."""
    place, inside = CHINESE_PLACES[scene.place.name]
    view = f"{_TIMES[scene.time]}{place}"
    where = f"{view}{inside}"
    everything = _listing(scene.groups)
    first, *others = scene.groups
    common = (f"{where}的{everything}", f"画面是{view}，有{everything}")
    if not others:
        return (
            *common,
            f"{where}有{_name(first)}",
            f"{where}只有{_name(first)}，没有别的东西",
            f"{_name(first, sized=True)}在{where}",
        )
    forth, back = _RELATIONS[scene.layout]
    return (
        *common,
        f"{where}有{_name(first)}，{back}是{_listing(others)}",
        f"{where}，{_name(first)}在{_listing(others)}的{forth}",
        f"{_listing(others, sized=True)}在{_name(first, sized=True)}的{back}",
    )


def _listing(groups: Sequence[Group], *, sized: bool = False) -> str:
    *names, last = (_name(group, sized=sized) for group in groups)
    return f"{'、'.join(names)}和{last}" if names else last


def _name(group: Group, *, sized: bool = False) -> str:
    measure, noun = CHINESE_NOUNS[group.noun]
    size = ("巨大的" if group.large else "小小的") if sized else ""
    return f"{_NUMBERS[len(group.things)]}{measure}{size}{noun}"
