"""Column names of price files in many languages and dialects, and what a name means."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

LONGEST_NAME = 60
_LETTERS = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ё": "е", "ー": "-"})

# Names as they stand in files, folded when this module loads. A star: any name that starts so. Longer words that are one
# name are joined by an underscore. Eastern names count wherever they stand in a name.
_VOCABULARY = {
    "date": """
        date dates datetime date_time timestamp trade_date trading_date trading_day tradedate exchange_date quote_date
        observation_date period as_of asof dt dtyyyymmdd yyyymmdd unix epoch unix_timestamp ts open_time gmt_time
        local_time utc_time index datum data fecha fecha_hora data_e_hora date_heure dato datum_zeit zeitpunkt tarih дата
        дата_время день kuupaev data_notowania data_sesji pvm paivamaara paivays datums ημερομηνια datas dátum idopont
        ngay tanggal tarikh วันที่ วัน तारीख दिनांक التاريخ تاريخ תאריך 日期 日付 日付け 年月日 交易日 交易日期 时间 時間
        日時 날짜 일자 일시
    """,
    "clock": """
        time hour clock uhrzeit zeit heure hora ora czas godz godzina время saat tijd tid kell idő per_time 时刻 時刻 시간
    """,
    "year": """
        year yyyy jahr annee año ano anno 年
    """,
    "month": """
        month mm monat mois mes mese 月
    """,
    "day": """
        day dd dag tag jour dia giorno gun 日
    """,
    "open": """
        open opening open_price opening_price px_open first start eroff* eroeff* erster anfang startkurs ouv ouvert*
        cours_ouverture premier apertura aper abertura abert aberto otwarcie otw otwar* откр откры* відкр* acilis acil
        open_koers opening_koers oppen oppning* apning* abning* aapning avaus avaushinta otevir* otevrac* nyito nyitoar
        deschidere otvar* отваряне ανοιγμ* mo mo_cua gia_mo_cua pembukaan buka เปิด ราคาเปิด ओपन افتتاح الافتتاح פתיחה
        开盘 開盤 开盘价 今开 始値 始 시가 시초가
    """,
    "high": """
        high hi high_price highest max maximum px_high day_high days_high hoch hochst* hoechst* tageshoch hochkurs haut
        plus_haut massimo maximo maxima max_do_dia alto mas_alto mayor najwyzszy najwyz* najvis* maks maksym* макс максим* наиб*
        наивис* высок* yuksek en_yuksek hoog hoogste hogst hogsta hogstk* hoy hoyest hoj hojest ylin korkein nejvyssi
        maxim legmagasabb cao cao_nhat gia_cao* tertinggi tinggi สูงสุด สูง ราคาสูง उच्च أعلى الأعلى الاعلى גבוה
        最高 最高价 最高價 高值 高値 高 고가 υψηλ* ανωτατ* μεγιστ*
    """,
    "low": """
        low lo low_price lowest min minimum px_low day_low days_low tief tiefst* tagestief tiefkurs bas plus_bas minimo
        minim minima min_do_dia bajo mas_bajo baixo najnizszy najniz* мин миним* мінім* наим* наиниск* наинизьк* низк*
        dusuk en_dusuk laag laagste lagst lagsta lagstk* lav lavest alin matalin nejnizsi legalacsonyabb
        thap thap_nhat gia_thap* terendah rendah ต่ำสุด ต่ำ ราคาต่ำ निम्न أدنى الأدنى الادنى נמוך 最低 最低价 最低價 低值 安値
        低値 低 저가 minimal* χαμηλ* κατωτατ* ελαχιστ*
    """,
    "close": """
        close closing close_price closing_price closing_value closeprice px_close close/last schluss* schlusskurs cloture clot
        cours_cloture dernier_cours chiusura chius cierre cerrar fechamento fech zamkni* zamk закр закры* закрит*
        kapanis kapan* slot slotkoers slutkurs stangning* sluttkurs sluttpris lukukurs paatos paatoskurssi zaviraci zaver*
        zaro zaroar inchidere zatvar* затваряне κλεισιμ* dong_cua gia_dong_cua penutupan tutup ปิด ราคาปิด क्लोज إغلاق
        الإغلاق اغلاق סגירה 收盘 收盤 收盘价 收盤價 终值 終値 終 종가
    """,
    "last": """
        last latest last_price last_trade last_close px_last settle settlement settlement_price letzter zuletzt dernier
        ultimo ultima
        ostatnio ostatni son son_fiyat şimdi послед* laatste laatst senast senaste sist siste seneste viimeisin posledni
        utolso ultimul τελευταια lan_cuoi terakhir ล่าสุด आखिरी_बार الأخير الاخير آخر_سعر אחרון 最新 最新价 最新價 収盤 현재가 ltp
    """,
    "price": """
        price prc value level rate exchange_rate index_value index_level nav net_asset_value mid mid_price market_price
        spot spot_price kurs preis wert
        stand prix valeur cours taux prezzo valore precio valor preço valor_da_cota cena wartosc цена курс значение fiyat
        deger koers prijs waarde pris kurssi arvo hodnota ar ertek pret τιμη gia harga ราคา कीमत سعر السعر מחיר 价格 價格
        值 价 净值 单位净值 基準価額 価格 가격 기준가
    """,
    "volume": """
        volume vol volumes tot_volume total_volume trade_volume traded_volume share_volume px_volume number_of_shares
        no_of_shares shares_traded cvol volumen volum volym handelsvolumen stuck stuecke stucke anzahl volumi
        volume_scambi wolumen wol obrot_szt объем* обем обсяг об obyem hacim hac islem_hacmi aantal omsatt_antal antal
        kaihto vaihto objem forgalom menny* ογκος kl khoi_luong klgd kuantitas volume_perdagangan ปริมาณ वॉल्यूम الحجم حجم
        מחזור נפח qty quantity 成交量 成交股数 成交股數 交易量 总手 出来高 売買高 거래량
    """,
    "volume 2": """
        tickvol tick_volume tickvolume turnover umsatz volume_usdt volume_usd obrot umsatze оборот omzet quote_volume
        base_volume
    """,
    "ticker": """
        ticker symbol sym name code tic isin wkn ric instrument security secid asset stock pair coin contract security_id
        stock_code stock_name company company_name unique_symbol figi sedol cusip permno kurzel simbolo codigo titre
        valeur_isin nom_valeur papier nazwa walor spolka тикер инструмент бумага sembol hisse kod 代码 代碼 股票代码
        股票代號 证券代码 证券代號 证券简称 股票名称 名称 简称 銘柄 銘柄コード コード 종목 종목코드 종목명 ma_ck
    """,
}
_ADJUSTED = "adj adjusted bereinigt ajustado ajustada ajuste aggiustato corrige скорр 复权 復權 調整 調整後 수정"
# Words of names that are no price of the day although they may look so: previous close, 52 week high, open interest.
_EXCLUDED = """
    prev previous pre prior yesterday yest vortag vortages hier ayer ieri anterior veille wczoraj change chg chng change_p
    diff difference pct percent variation variazione variacion variacao var veranderung zmiana изм изменение degisim ret
    return returns log 52 52w week weeks weekly wk ytd annual interest oi time date ratio split splits dividend dividends
    div ma sma ema wma avg average averag mean vwap wap twap number no count trades taker quote upper lower circuit limit
    ex after extended implied iv target signal band std stdev volatility vola rank market cap marketcap spread yield basis
    premium fair range swing turn theoretical estimate strike days since all_time ath atl unadj unadjusted предыдущая пред
"""
_EAST_EXCLUDED = """
    前收 昨收 昨日 前日 前值 전일 涨跌 漲跌 涨幅 跌幅 振幅 変化 前比 등락 대비 变动 均 평균 成交额 成交額 金额 売買代金
    거래대금 시가총액
"""
# Words beside a name that do not change what it means, and units; what else stands there is a ticker.
_NOISE = """
    price prices px kurs preis prix cours prezzo precio preco cena цена fiyat koers pris value in per the of traded trade
    stock share shares gmt utc est daily session official raw tages day u s
"""
_PARTICLES = "de di del da d le la los el il do του της"
_UNITS = """
    usd eur gbp gbx jpy cny rmb hkd inr krw chf cad aud nzd pln czk huf rub try brl mxn zar sgd twd sek nok dkk us rs pts
    pt points units unit lots lot contracts won yen dollar dollars euros euro c k m mio mn thousand thousands million
    millions oz ozt ounce barrel bbl tonne mt lb lbs kg gram mwh kwh mmbtu
"""
_WORD = re.compile(r"[^\s_\-.,;:/\\'\"()\[\]{}<>*†‡#$€£¥₩%|+?!]+")
_EAST = re.compile(r"[\u0e00-\u0e7f\u3040-\u9fff\uac00-\ud7af]")


@lru_cache(maxsize=8192)
def fold(text: str) -> str:
    """The text in lower case, without accents, width variants and other differences that do not count in a name."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS)).translate(_LETTERS)
    return unicodedata.normalize("NFC", "".join(c for c in plain if unicodedata.category(c) != "Mn"))


def _squeezed(text: str) -> str:
    return re.sub(r"[\W_]+", "", fold(text))


_EXACT: dict[str, str] = {}
_STEMS: dict[str, str] = {}
_EAST_NAMES: list[tuple[str, str]] = []
for _role, _names in _VOCABULARY.items():
    for _name in _names.split():
        if _name.endswith("*"):
            _STEMS.setdefault(_squeezed(_name), _role)
        else:
            _EXACT.setdefault(_squeezed(_name), _role)
            if _EAST.search(_name) and len(_name) > 1:
                _EAST_NAMES.append((_squeezed(_name), _role))
_LONGEST_STEM = max(map(len, _STEMS))
_EAST_NAMES.sort(key=lambda pair: -len(pair[0]))
_ADJUSTED_WORDS, _EXCLUDED_WORDS, _EAST_EXCLUDED_WORDS, _NOISE_WORDS, _PARTICLE_WORDS = (
    frozenset(fold(word) for word in words.split()) for words in (_ADJUSTED, _EXCLUDED, _EAST_EXCLUDED, _NOISE, _PARTICLES)
)
_UNIT_WORDS = _NOISE_WORDS | frozenset(_UNITS.split())
_OTHER_DATES = frozenset(("close", "ex", "expiry", "next", "dividend", "last", "start", "end", "first"))
_LETTERS_OF = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
_SAYS_LESS = {"open": 0, "high": 0, "low": 0, "close": 0, "volume": 0, "volume 2": 0, "last": 1, "price": 2}
_RANKS = {"close": 0, "last": 1, "price": 2, "volume": 0, "volume 2": 1}


@dataclass(frozen=True)
class Meaning:
    """What a column name means. `role` is date, clock, year, month, day, open, high, low, close, volume, ticker, other for what
    is known to be none of these, or "".

    `rank` orders names of one role: close before last before price. `group` is what else the name says: a ticker, as in
    "AAPL Close", or nothing. `letter` marks o, h, l, c, v, which count only together.
    """

    role: str = ""
    adjusted: bool = False
    rank: int = 0
    group: str = ""
    letter: bool = False


@lru_cache(maxsize=65536)
def meaning(label: str) -> Meaning:
    """What a column name means, exact names before names that merely contain one."""
    plain = _plain(label)
    if len(plain) > LONGEST_NAME:
        return Meaning()
    words = [_Word(found[0], found.start(), found.end()) for found in _WORD.finditer(plain)]
    squeezed = "".join(word.folded for word in words)
    if squeezed in _LETTERS_OF:
        return Meaning(_LETTERS_OF[squeezed], letter=True)
    if squeezed in _EXACT:
        return _as_meaning(_EXACT[squeezed], False, "")
    if _EAST.search(label):
        return _eastern(squeezed)
    adjusted = any(word.folded in _ADJUSTED_WORDS for word in words)
    alone = adjusted and words[-1].folded in _ADJUSTED_WORDS
    words = [word for word in words if word.folded not in _ADJUSTED_WORDS]
    folded = {word.folded for word in words}
    times = {_EXACT.get(word) for word in folded} & {"date", "clock"}
    if times and not _OTHER_DATES & folded:
        return Meaning("date" if "date" in times else "clock", rank=1)
    if _EXCLUDED_WORDS & folded:
        return Meaning() if len(words) == 1 and label.isupper() and len(label) < 6 else Meaning("other")
    found = _with_group(plain, words, adjusted)
    return Meaning("close", adjusted=True, group=_group(plain, words)) if alone and not found.role else found


def is_unit(text: str) -> bool:
    """Whether a cell of a header names nothing but a unit or a currency."""
    return all(fold(word) in _UNIT_WORDS for word in _WORD.findall(_plain(text)))


@dataclass(frozen=True)
class _Word:
    """A word of a name and where it stands in it."""

    text: str
    start: int
    end: int

    @property
    def folded(self) -> str:
        return fold(self.text)


def _plain(label: str) -> str:
    """The name without units in brackets, list numbers ("4. close") and remarks; camelCase and adjclose are two words."""
    plain = unicodedata.normalize("NFKC", label).strip()
    plain = re.sub(r"(?i)(?<=\w)[ .,]+(?:\w+ )*price adjusted for\b.*", "", plain)
    plain = re.sub(r"(?<=[\w.])\s*[(\[]([^()\[\]]*)[)\]]\s*$", _bracket, plain)
    plain = re.sub(r"^\s*\d{1,2}[a-z]?[.)]\s+", "", plain)
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain)
    return re.sub(r"(?i)\b(adj|adjusted)(?=(open|high|low|close|volume)\b)", r"\1 ", plain)


def _bracket(found: re.Match[str]) -> str:
    """A bracket at the end of a name stays where it holds a ticker: Close (AAPL)."""
    inner = found[1].strip()
    return f" {inner}" if inner.isupper() and any(fold(word) not in _UNIT_WORDS for word in _WORD.findall(inner)) else ""


def _with_group(plain: str, words: list[_Word], adjusted: bool) -> Meaning:
    """A role at the start or the end of the name; the rest, without units, is a group.

    Of two roles the one that says more counts, as the open in "Price Open" and in "цена открытия"; of two that say as much,
    the one that is not in capitals beside small letters, which are a ticker: "LOW Close".
    """
    found: list[tuple[int, bool, int, int, str]] = []
    for length in range(1, len(words) + 1):
        for start in {0, len(words) - length}:
            squeezed = "".join(word.folded for word in words[start : start + length])
            role = (_EXACT.get(squeezed) if len(squeezed) > 2 or length == len(words) else None) or _stem(squeezed)
            if role is not None and role in _SAYS_LESS:
                capitals = all(word.text.isupper() for word in words[start : start + length]) and not plain.isupper()
                found.append((_SAYS_LESS[role], capitals, -length, start, role))
    if not found:
        return Meaning()
    *_, minus_length, start, role = min(found)
    return _as_meaning(role, adjusted, _group(plain, words[:start] + words[start - minus_length :]))


def _group(plain: str, rest: list[_Word]) -> str:
    """What the rest of a name says beyond units and words for a price: a ticker, or nothing."""
    telling = [word for word in rest if not _is_silent(word, rest, plain)]
    only_units = all(word.folded in _UNIT_WORDS for word in telling)
    return "" if only_units else plain[telling[0].start : telling[-1].end]


def _is_silent(word: _Word, rest: list[_Word], plain: str) -> bool:
    """Whether a word beside a role says nothing; some of these words in capitals are tickers, as in "DE Close", "NAV Close"."""
    if word.folded in _PARTICLE_WORDS:
        return len(rest) > 1 or not word.text.isupper()
    if word.folded in _NOISE_WORDS:
        return True
    return _EXACT.get(word.folded) == "price" and (plain.isupper() or not word.text.isupper())


def _stem(word: str) -> str | None:
    return next((_STEMS[word[:n]] for n in range(min(len(word), _LONGEST_STEM), 3, -1) if word[:n] in _STEMS), None)


def _eastern(squeezed: str) -> Meaning:
    if any(word in squeezed for word in _EAST_EXCLUDED_WORDS):
        return Meaning("other")
    adjusted = any(word in squeezed for word in _ADJUSTED_WORDS if _EAST.search(word))
    role = next((role for name, role in _EAST_NAMES if name in squeezed), None)
    return Meaning() if role is None else _as_meaning(role, adjusted, "")


def _as_meaning(role: str, adjusted: bool, group: str) -> Meaning:
    rank = _RANKS.get(role, 0)
    role = {"last": "close", "price": "close", "volume 2": "volume"}.get(role, role)
    return Meaning(role, adjusted, rank, group)
