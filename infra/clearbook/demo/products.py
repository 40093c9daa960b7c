"""What the generated month is made of: products as the bill names them, in both of its languages.

Texts end in a tab here and there because the service's own do; a reader has to strip them.
"""

from __future__ import annotations

from dataclasses import dataclass

ZERO_FORM = {"zh": "未分配", "en": "Not allocated"}
# Region and zone are the only places a bill gives, and they are localised: there is no region code to join on.
REGIONS = (
    {"zh": ("华东1（杭州）", "杭州 可用区H"), "en": ("China (Hangzhou)", "Hangzhou Zone H")},
    {"zh": ("华北2（北京）", "北京 可用区F\t"), "en": ("China (Beijing)", "Beijing Zone F\t")},
    {"zh": ("华南1（深圳）", "深圳 可用区C"), "en": ("China (Shenzhen)", "Shenzhen Zone C")},
    {"zh": ("新加坡", "新加坡 可用区A"), "en": ("Singapore", "Singapore Zone A")},
)
LANGUAGES = ("zh", "en")


@dataclass(frozen=True, slots=True)
class Product:
    """One billing item of a product.

    `slots` is its share of the lines of its kind, `cost` its share of their amount in thousandths; the list price
    is in millionths of a yuan. `instance` is a pattern for {key}, {owner} and {region}.
    """

    code: str
    commodity: str
    name: tuple[str, str]
    item_code: str
    item_name: tuple[str, str]
    slots: int
    cost: int
    price_e6: int
    unit: tuple[str, str]
    instance: str
    spec: str = ""
    config: str = ""
    subscription: bool = False

    def fields(self, language: str, region: int) -> dict[str, str]:
        """The texts that every line of this product shares in one language and region."""
        pick = LANGUAGES.index(language)
        place, zone = REGIONS[region][language]
        zh = language == "zh"
        return {
            "ProductCode": self.code,
            "ProductType": self.commodity,
            "PipCode": self.code,
            "CommodityCode": self.commodity,
            "ProductName": self.name[pick] + "\t",
            "ProductDetail": self.name[pick],
            "BillingItem": self.item_name[pick],
            "BillingItemCode": self.item_code,
            "InstanceSpec": self.spec,
            "InstanceConfig": self.config,
            "Item": "SubscriptionOrder" if self.subscription else "PayAsYouGoBill",
            "SubscriptionType": "Subscription" if self.subscription else "PayAsYouGo",
            "BillingType": "其它" if zh else "Other",
            "Region": place,
            "Zone": zone,
            "CostUnit": ZERO_FORM[language] + "\t",
            "ResourceGroup": "默认资源组" if zh else "default resource group",
            "ListPrice": price_text(self.price_e6),
            "ListPriceUnit": ("元/" if zh else "CNY/") + self.unit[pick],
            "UsageUnit": self.unit[pick],
            "ServicePeriod": "1" if self.subscription else "86400",
            "ServicePeriodUnit": ("月" if zh else "Month") if self.subscription else ("秒" if zh else "Second"),
            "Currency": "CNY",
            "BizType": "",
            "DeductedByResourcePackage": "0",
        }


def price_text(price_e6: int) -> str:
    """A price in millionths as the bill writes it: digits, no trailing zeros."""
    whole, part = divmod(price_e6, 10**6)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


_HOUR = ("小时", "Hour")
_GB = ("GB", "GB")

ECS = ("云服务器ECS", "Elastic Compute Service")
USAGE = (
    Product(
        "ecs",
        "ecs",
        ECS,
        "instance_type",
        ("实例规格", "Instance type"),
        5,
        440,
        874_500,
        _HOUR,
        "i-{key}",
        "ecs.g7.2xlarge\t",
        "CPU：8核;内存：32GB",
    ),
    Product(
        "ecs",
        "ecs",
        ECS,
        "network_out",
        ("公网流出流量", "Internet outbound traffic"),
        2,
        60,
        800_000,
        _GB,
        "i-{key}",
        "ecs.g7.2xlarge\t",
    ),
    Product(
        "yundisk",
        "yundisk",
        ("块存储", "Block Storage"),
        "cloud_essd",
        ("ESSD云盘", "ESSD"),
        3,
        80,
        2_083,
        ("GB*小时", "GB*Hour"),
        "d-{key}",
    ),
    Product(
        "oss",
        "oss",
        ("对象存储OSS", "Object Storage Service"),
        "storage",
        ("标准存储容量", "Standard storage"),
        3,
        90,
        167,
        ("GB*小时", "GB*Hour"),
        "{owner}-{key}",
    ),
    Product(
        "rds",
        "rds",
        ("云数据库RDS", "ApsaraDB RDS"),
        "class",
        ("实例规格费", "Instance class"),
        2,
        150,
        1_960_000,
        _HOUR,
        "rm-{key}",
        "mysql.x4.large.2c\t",
        "CPU：4核;内存：16GB",
    ),
    Product(
        "cdn",
        "cdn",
        ("CDN", "CDN"),
        "flow",
        ("流量", "Traffic"),
        2,
        60,
        240_000,
        _GB,
        "{key}.static.example.com",
    ),
    Product(
        "slb",
        "slb",
        ("负载均衡", "Server Load Balancer"),
        "lcu",
        ("容量单位", "Capacity unit"),
        1,
        20,
        49_000,
        ("LCU", "LCU"),
        "lb-{key}",
    ),
    # The service joins the parts of these instance ids with a semicolon.
    Product(
        "sls",
        "sls",
        ("日志服务", "Simple Log Service"),
        "index_flow",
        ("索引流量", "Index traffic"),
        1,
        30,
        350_000,
        _GB,
        "{owner};prod-{key};access-log;{region}",
    ),
    Product(
        "sfm",
        "sfm_inference",
        ("大模型服务平台百炼", "Model Studio"),
        "token_number",
        ("模型推理", "Model inference"),
        1,
        70,
        4_000,
        ("千tokens", "1K tokens"),
        "{owner};llm-{key};qwen-max;text;0",
    ),
)
SUBSCRIPTIONS = (
    Product(
        "ecs",
        "ecs_month",
        ECS,
        "instance_type",
        ("实例规格", "Instance type"),
        2,
        600,
        1_152_000_000,
        ("月", "Month"),
        "i-{key}",
        "ecs.c7.4xlarge\t",
        "CPU：16核;内存：32GB",
        subscription=True,
    ),
    Product(
        "rds",
        "rds_month",
        ("云数据库RDS", "ApsaraDB RDS"),
        "class",
        ("实例规格费", "Instance class"),
        1,
        400,
        2_380_000_000,
        ("月", "Month"),
        "rm-{key}",
        "pg.n4.large.2c\t",
        subscription=True,
    ),
)
FREE = Product(
    "oss",
    "oss",
    ("对象存储OSS", "Object Storage Service"),
    "free_quota_get",
    ("GET请求（免费额度）", "GET requests (free quota)"),
    1,
    0,
    10,
    ("次", "Request"),
    "{owner}-{key}",
)
# Bought by the piece and billed without an instance: two equal purchases of one day are two equal lines.
MESSAGES = Product(
    "dysms",
    "dysms",
    ("短信服务", "Short Message Service"),
    "domestic_sms",
    ("国内短信", "Domestic messages"),
    1,
    0,
    45_000,
    ("条", "Message"),
    "",
)
UNKNOWN = Product(
    "iovcc",
    "iovcc_public",
    ("智能车联平台", "Internet of Vehicles Platform"),
    "device_online",
    ("在线设备数", "Online devices"),
    1,
    0,
    120_000,
    ("台", "Device"),
    "iov-{key}",
)
