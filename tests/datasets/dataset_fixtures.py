"""A few made-up rows of every data set, as published by its owners; the contract asks for them."""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import zstandard

__all__ = ["FIXTURES", "PACKERS", "write"]

PACKERS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "gzip": (".gz", gzip.compress),
    "zstd": (".zst", zstandard.compress),
}

_CRITEO = ["1", *(str(i) for i in range(-1, 12)), *(f"{i:08x}" for i in range(26))]
_CRITEO_GAPS = ["0", "", "5", *([""] * 11), "68fd1e64", *([""] * 25)]
_AVAZU = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,device_id,"
    "device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21\n"
)
_AVAZU_ROW = "1005,0,s1,sd1,sc1,a1,ad1,ac1,d1,ip1,m1,1,0,15706,320,50,1722,0,35,-1,79"
_BANDIT = (
    ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,"
    "user_feature_3,user-item_affinity_0,user-item_affinity_1\n"
)
_HASH = "{0}{0}{0}{0}{0}{0}{0}{0}xyz"
_BANDIT_USER = ",".join(_HASH.format(letter) for letter in "abcd")
_U_ITEM = "|".join(["{}", "{}", "01-Jan-1995", "", "http://x", *(["{}"] * 19)])

#: Name of a fixture, which begins with the name of the data set → file name → content.
FIXTURES: Mapping[str, Mapping[str, bytes]] = {
    "movielens 100k": {
        "u.data": b"196\t242\t3\t881250949\n186\t302\t4\t881250948\n196\t999\t1\t881250949\n",
        "u.item": (
            _U_ITEM.format(242, "Kolya (1996)", *(["0"] * 5), 1, *(["0"] * 13))
            + "\n"
            + _U_ITEM.format(302, "Misérables, Les (1995)", 1, *(["0"] * 18))
            + "\n"
        ).encode("latin-1"),
        "u.user": b"196|49|M|writer|55105\n186|39|F|executive|00000\n",
    },
    "movielens 1m": {
        "ratings.dat": b"1::1193::5::978300760\n2::661::3.5::978300759\n",
        "movies.dat": "1193::Cité (1995)::Drama|Sci-Fi\n661::James (1996)::Children's\n".encode("latin-1"),
        "users.dat": b"1::F::1::10::48067\n2::M::56::20::70072\n",
    },
    "movielens latest": {
        "ratings.csv": b"userId,movieId,rating,timestamp\n1,11,4.0,964982703\n2,12,0.5,964982702\r\n",
        "movies.csv": (
            'movieId,title,genres\n11,"American President, The (1995)",Comedy|Drama|Romance\n'
            "12,Lost é (2004–2010),(no genres listed)\n"
        ).encode(),
    },
    "criteo": {"train.txt": ("\t".join(_CRITEO) + "\n" + "\t".join(_CRITEO_GAPS) + "\n").encode()},
    "avazu": {
        "train.csv": f"{_AVAZU}1e19,1,14102101,{_AVAZU_ROW}\n1e18,0,14102100,{_AVAZU_ROW}\n".encode(),
    },
    "mind": {
        "behaviors.tsv": (
            b"7\tU1\t11/12/2019 12:00:01 PM\tN1 N2 N3 N4 N5 N6 N7 N8 N9 N10 N11\tN20-1 N21-0\n"
            b"8\tU2\t11/12/2019 12:00:00 AM\t\tN21-0 N20-0 N20-1\n"
            b"9\tU3\t11/12/2019 12:00:02 PM\tN1\tN20-0\n"
        ),
        "news.tsv": "N20\tsports\tsoccer\tGoal “é”\tabstract\thttp://x\t[]\t[]\n".encode(),
    },
    "open-bandit": {
        "men.csv": (
            f"{_BANDIT}0,2019-11-24 00:01:03.979311+00:00,1,2,0,0.05,{_BANDIT_USER},0.0,1.5\n"
            f"1,2019-11-24 00:01:03+00:00,0,1,1,1.0,{_BANDIT_USER},0.0,0.0\n"
        ).encode(),
        "item_context.csv": (
            b",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"
            b"0,0,-0.5,p,q,r\n1,1,2.0,s,t,u\n"
        ),
    },
    "taobao": {
        "UserBehavior.csv": (
            b"1,100,7,pv,1511658000\n1,100,7,buy,1511658300\n2,200,8,cart,1511658300\n"
            b"3,100,7,pv,1511658001\n3,100,7,fav,1511658602\n1,100,7,fav,1511658301\n4,300,9,p"
        ),
    },
    "talkingdata": {
        "train_sample.csv": (
            b"ip,app,device,os,channel,click_time,attributed_time,is_attributed\n"
            b"87540,12,1,13,497,2017-11-07 09:30:38,,0\n"
            b"105560,25,1,17,259,2017-11-07 09:30:37,2017-11-07 10:00:00,1\n"
        ),
    },
}


def write(folder: Path, fixture: str, packing: str = "plain") -> tuple[str, Path]:
    """Write a fixture: (name of the data set, folder)."""
    suffix, pack = PACKERS[packing]
    for name, content in FIXTURES[fixture].items():
        (folder / (name + suffix)).write_bytes(pack(content))
    return fixture.split()[0], folder
