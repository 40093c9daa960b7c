"""Region ids by the names that bills give them, in both languages (DescribeRegions, help document 140601)."""

from __future__ import annotations

from collections.abc import Mapping

NAMES: Mapping[str, tuple[str, str]] = {
    "cn-qingdao": ("华北1（青岛）", "China (Qingdao)"),
    "cn-beijing": ("华北2（北京）", "China (Beijing)"),
    "cn-zhangjiakou": ("华北3（张家口）", "China (Zhangjiakou)"),
    "cn-huhehaote": ("华北5（呼和浩特）", "China (Hohhot)"),
    "cn-wulanchabu": ("华北6（乌兰察布）", "China (Ulanqab)"),
    "cn-hangzhou": ("华东1（杭州）", "China (Hangzhou)"),
    "cn-shanghai": ("华东2（上海）", "China (Shanghai)"),
    "cn-shenzhen": ("华南1（深圳）", "China (Shenzhen)"),
    "cn-heyuan": ("华南2（河源）", "China (Heyuan)"),
    "cn-guangzhou": ("华南3（广州）", "China (Guangzhou)"),
    "cn-chengdu": ("西南1（成都）", "China (Chengdu)"),
    "cn-hongkong": ("中国香港", "China (Hong Kong)"),
    "ap-northeast-1": ("日本（东京）", "Japan (Tokyo)"),
    "ap-southeast-1": ("新加坡", "Singapore"),
    "eu-central-1": ("德国（法兰克福）", "Germany (Frankfurt)"),
    "us-west-1": ("美国（硅谷）", "US (Silicon Valley)"),
    "us-east-1": ("美国（弗吉尼亚）", "US (Virginia)"),
}
_IDS = {name: region for region, names in NAMES.items() for name in names}


def region_id(name: str) -> str:
    """The id of the region that a bill calls `name`; empty where it is none of the above."""
    return _IDS.get(name, "")


def in_chinese(name: str) -> str:
    """The Chinese name of a region; the name itself where it is none of the above."""
    region = region_id(name)
    return NAMES[region][0] if region else name
