//! Binance Spot with a key: the account, its orders, and the one place from which an order leaves.
//!
//! Questions are repeated freely, an order never: [`Live::send`] takes a [`Recorded`] intent by
//! value, of which there is one for each commit, and answers with what is certain. Nothing here is
//! decided on a local clock but how long to wait.

use std::time::Duration;

use super::binance::{Binance, MOST_CLOCK_OFFSET_MILLIS};
use super::http::{Answer, Asked, Http, Request};
use super::sign::{Credentials, Query};
use super::watch::Watch;
use super::wire::account::{self as wire, Reason, Refused, Trade};
use super::wire::{ApiError, BookTicker};
use super::{Exchange, View, Want};
use crate::config::Live as Access;
use crate::failure::{self, Failure};
use crate::store::Recorded;
use crate::store::outside::Outside;
use crate::trading::account::{Account, LegAccount};
use crate::trading::ledger::{Balances, Intent, Ledger, Seen};
use crate::trading::market::{Leg, Side, SymbolRules};
use crate::trading::money::{Amount, Overflow, Quantity};
use crate::trading::order::{Kind, Ordered, Outcome, Plan, Size, Touch};
use crate::trading::settlement::{self, Fill, OrderSeen, Settled, Verdict};
use crate::trading::time::Timestamp;

/// An account of Binance Spot.
#[derive(Debug)]
pub struct Live {
    watch: Watch,
    /// Signed questions, prices and rules; its address need not be that of the candles.
    binance: Binance,
    http: Http,
    credentials: Result<Credentials, Failure>,
    recv_window_ms: u32,
    settle_seconds: u32,
    kind: Kind,
    /// The exchange's clock less ours.
    offset_ms: i64,
    /// Whose book it is; `None` before its first start.
    uid: Option<u64>,
    /// From which orders on a scan looks.
    seen: Seen,
    /// What it showed, or why it did not: asked for once in a run, whatever comes of it.
    shown: Option<Result<Shown, Failure>>,
}

/// What the exchange showed of account and market, once in a run.
#[derive(Debug, Clone)]
struct Shown {
    account: Account,
    /// Of a symbol that nobody quotes, the failure: the other one is traded all the same.
    tickers: [Result<BookTicker, Failure>; 2],
    rules: [SymbolRules; 2],
}

/// What became of an order that was sent.
#[derive(Debug)]
pub enum Sent {
    /// It is over.
    Settled(Settled),
    /// It was not executed, for certain.
    Refused(Refusal),
    /// Nobody knows yet. It can be asked about, and never sent again.
    Unknown(String),
}

/// Why the exchange did not take an order.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The row of the exit code table.
    pub kind: failure::Kind,
    /// In the exchange's words.
    pub said: String,
}

/// What is known of an order that may have been sent.
#[derive(Debug)]
pub enum Standing {
    /// It is over.
    Settled(Settled),
    /// It is under way, or nobody knows.
    Open {
        /// In words.
        why: String,
        /// The exchange's time, or our guess of it.
        at: Timestamp,
    },
    /// What the exchange says of it can't be: a person must look.
    Unclear(String),
}

/// What a question was answered with.
enum Told {
    Answer(Answer),
    /// One of the few errors that are an answer.
    Code(i64),
}

/// A question before it is sent; a signed one is stamped anew each time it is.
struct Question {
    path: &'static str,
    query: Query,
    is_signed: bool,
}

impl Question {
    fn signed(path: &'static str, query: Query) -> Self {
        Self { path, query, is_signed: true }
    }

    fn open(path: &'static str, query: Query) -> Self {
        Self { path, query, is_signed: false }
    }
}

impl Exchange for Live {
    /// The questions about the account go out together with those for candles, each on a
    /// connection of its own: they cost no round trip.
    fn view(&mut self, want: &Want, outside: &mut Outside) -> Result<View, Failure> {
        let questions = self.account_questions();
        let asked =
            if self.shown.is_none() { Some(self.begin(&questions, outside)?) } else { None };
        let view = self.watch.view(want, outside);
        if let Some(asked) = asked {
            self.hear(asked, &questions, outside)?;
        }
        view
    }

    fn touch(
        &mut self,
        leg: Leg,
        side: Side,
        _candle: Timestamp,
        outside: &mut Outside,
    ) -> Result<(Touch, Timestamp), Failure> {
        let shown = self.look(outside)?;
        let of = leg.index();
        let ticker = shown.tickers[of].as_ref().map_err(Clone::clone)?;
        let price = match side {
            Side::Buy => ticker.ask,
            Side::Sell => ticker.bid,
        };
        Ok((Touch { price, rules: shown.rules[of].clone() }, shown.account.at))
    }

    fn live(&mut self) -> Option<&mut Live> {
        Some(self)
    }
}

impl Live {
    /// Trades with `access` on what `watch` sees, by orders of this kind.
    #[must_use]
    pub fn new(watch: Watch, http: &Http, access: &Access, kind: Kind, outside: &Outside) -> Self {
        // A clock that was further off has to be set before anything is decided: it is not followed.
        let is_followed = |offset: &i64| offset.saturating_abs() <= MOST_CLOCK_OFFSET_MILLIS;
        let offset_ms = outside.memory.clock_offset_ms.filter(is_followed).unwrap_or(0);
        Self {
            watch,
            binance: Binance::new(http.clone(), access.base_url.clone()),
            http: http.unstoppable(),
            credentials: access.credentials.clone(),
            recv_window_ms: access.recv_window_ms,
            settle_seconds: access.settle_seconds,
            kind,
            offset_ms: likely_offset(offset_ms),
            uid: None,
            seen: Seen::default(),
            shown: None,
        }
    }

    /// Answers for the account of this ledger only, and scans orders from where it left off.
    pub fn answer_for(&mut self, ledger: &Ledger) {
        self.uid = Some(ledger.uid);
        self.seen = ledger.seen;
    }

    /// How long it may take an order to show.
    #[must_use]
    pub fn settle_seconds(&self) -> u32 {
        self.settle_seconds
    }

    /// Whom this asks, for people.
    #[must_use]
    pub fn host(&self) -> String {
        self.binance.host()
    }

    /// Account, prices and rules as the exchange shows them; asked for once in a run.
    ///
    /// **Errors**: no answer, none that makes sense, one that asks for silence, a refused key.
    pub fn account(&mut self, outside: &mut Outside) -> Result<&Account, Failure> {
        self.look(outside).map(|shown| &shown.account)
    }

    /// The rules of both symbols, as [`Live::account`].
    pub fn rules(&mut self, outside: &mut Outside) -> Result<&[SymbolRules; 2], Failure> {
        self.look(outside).map(|shown| &shown.rules)
    }

    /// What the key may do, where the exchange tells; `None` where it doesn't, as the testnet.
    ///
    /// **Errors**: as [`Live::account`].
    pub(crate) fn restrictions(
        &mut self,
        outside: &mut Outside,
    ) -> Result<Option<wire::Restrictions>, Failure> {
        match self.ask_one(Question::signed(RESTRICTIONS_PATH, Query::new()), outside)? {
            Told::Answer(answer) => self.read(wire::restrictions(&answer.body)).map(Some),
            Told::Code(_) => Ok(None),
        }
    }

    /// The intent of this plan, stamped now. Nothing leaves before it is recorded. `known` is the
    /// newest order of the symbol that the book knows: the account's own list may be older.
    ///
    /// **Errors**: as [`Live::account`].
    pub fn intent(
        &mut self,
        client_order_id: String,
        candle: Timestamp,
        ordered: Ordered,
        touch: Touch,
        known: Option<u64>,
        outside: &mut Outside,
    ) -> Result<Intent, Failure> {
        let account = self.account(outside)?.leg(ordered.leg);
        let before = account.total;
        let newest_order = account.orders.iter().map(|order| order.order_id).max().max(known);
        Ok(Intent {
            client_order_id,
            candle,
            ordered,
            touch,
            timestamp: self.now(),
            recv_window_ms: self.recv_window_ms,
            before,
            newest_order,
        })
    }

    /// Whether there is time left to send an order and to hear of it.
    ///
    /// **Errors**: there is not; nothing was sent.
    pub fn check_time(&self) -> Result<(), Failure> {
        if self.binance.deadline().left() < ORDER {
            return Err(Failure::unreachable(format!(
                "{} answered so slowly that no time is left for an order",
                self.binance.host()
            )));
        }
        Ok(())
    }

    /// Sends the order. Once: there is no other way to send it than this value, and it is gone.
    ///
    /// A signal does not end the waiting, because the answer may not come again.
    #[must_use]
    pub fn send(&mut self, recorded: Recorded, outside: &mut Outside) -> Sent {
        let intent = recorded.into_intent();
        let symbol = self.symbol(intent.ordered.leg);
        let key = self.credentials.as_ref().expect("the account was asked for with this key");
        let stamp = intent.timestamp.as_millis();
        let body = order_query(&symbol, &intent).signed(key, stamp, intent.recv_window_ms);
        let request = Request::post(self.binance.url(ORDER_PATH, ""), FORM, body);
        let request = request.with_key(key.header());
        let answer = match self.http.ask_one(request, self.http.clock().deadline(ORDER)) {
            Ok(answer) => answer,
            // Even a refused connection is not told apart: asking costs little, a wrong guess all.
            Err(error) => return Sent::Unknown(format!("no answer to the order: {error:#}")),
        };
        if let Some(weight) = answer.used_weight {
            outside.counted(&self.binance.host(), weight, self.binance.now());
        }
        let silence = answer.wants_silence().then(|| self.binance.note_ban(&answer, outside));
        if answer.status == 200 {
            return match wire::order(&answer.body) {
                Ok(told) if told.order.quote.is_some() => {
                    match self.judge(&intent, &told.order, told.fills.as_deref()) {
                        Ok(Verdict::Final(outcome)) => Sent::Settled(Settled {
                            outcome,
                            order_id: Some(told.order.order_id),
                            at: self.now(),
                        }),
                        // What is missing or doesn't fit is asked for.
                        Ok(Verdict::Open | Verdict::FillsMissing | Verdict::Unclear(_)) => {
                            Sent::Unknown("the order was taken and is not over".to_owned())
                        }
                        Err(overflow) => Sent::Unknown(overflow.to_string()),
                    }
                }
                Ok(_) => Sent::Unknown("the answer to the order has no quote amount".to_owned()),
                Err(why) => Sent::Unknown(format!("the order was answered with {why}")),
            };
        }
        let status = answer.status;
        let Some(error) = read_error(&answer) else {
            return Sent::Unknown(format!("the order was answered with HTTP {status}"));
        };
        let said = format!("HTTP {status}, code {}, {}", error.code, plain(&error.msg));
        match (wire::refusal(status, &error), silence) {
            (Refused::No(Reason::Limit), Some(silence)) => {
                Sent::Refused(Refusal { kind: failure::Kind::Limited, said: silence.message })
            }
            (Refused::No(reason), _) => {
                let kind = match reason {
                    Reason::Key => failure::Kind::KeyRefused,
                    Reason::Limit => failure::Kind::Limited,
                    Reason::Order => failure::Kind::Refused,
                    Reason::Time => failure::Kind::Unreachable,
                };
                Sent::Refused(Refusal { kind, said })
            }
            (Refused::Unknown, _) => Sent::Unknown(format!("the order was answered with {said}")),
        }
    }

    /// What became of an order that may have been sent.
    ///
    /// "No such order" is asked for three times and then believed only when the request can no
    /// longer be taken, and neither orders, trades nor balances show a trace of it.
    ///
    /// **Errors**: a question was not answered; nothing is known then.
    pub fn ask(&mut self, intent: &Intent, outside: &mut Outside) -> Result<Standing, Failure> {
        let symbol = self.symbol(intent.ordered.leg);
        let by_id = Query::new().with("symbol", &symbol);
        let by_id = by_id.with("origClientOrderId", &intent.client_order_id);
        let mut seen = None;
        for attempt in 1..=ASKED {
            if attempt > 1 {
                self.binance.wait(BETWEEN_QUESTIONS)?;
            }
            let question = Question::signed(ORDER_PATH, by_id.clone());
            match self.ask_one(question, outside)? {
                Told::Code(ARCHIVED) => {
                    return Ok(self.settled(Outcome::Expired, None));
                }
                Told::Code(_) => {}
                Told::Answer(answer) => {
                    let order = self.read(wire::order(&answer.body))?.order;
                    match self.judge_with_trades(intent, &order, outside)? {
                        Ok(standing) => return Ok(standing),
                        Err(why) => seen = Some(why),
                    }
                }
            }
        }
        match seen {
            // Once shown it exists, whatever else does not show it yet.
            Some(why) => Ok(Standing::Open { why, at: self.exchange_time(outside)? }),
            None => self.absence(intent, "the exchange does not know the order", outside),
        }
    }

    /// Whether an order that the exchange does not know is one that never was.
    fn absence(
        &mut self,
        intent: &Intent,
        why: &str,
        outside: &mut Outside,
    ) -> Result<Standing, Failure> {
        let at = self.exchange_time(outside)?;
        let open = |why: String| Ok(Standing::Open { why, at });
        // Another account would not know the order either.
        self.account(outside)?;
        let final_after = intent.final_after(self.settle_seconds);
        if at <= final_after {
            return open(format!("{why}; that is believed only after {final_after}"));
        }
        let (leg, id) = (intent.ordered.leg, &intent.client_order_id);
        let symbol = self.symbol(leg);
        let since = intent.timestamp.as_millis().saturating_sub(1000);
        let query = Query::new().with("symbol", &symbol).with("startTime", since);
        let told =
            self.ask_one(Question::signed(TRADES_PATH, query.with("limit", MOST_TRADES)), outside)?;
        let trades = self.read_trades(told, &symbol)?;

        let shown = self.account(outside)?.leg(leg).clone();
        let sighted = shown.orders.iter().chain(&shown.open);
        if let Some(order) = sighted.clone().find(|order| order.client_order_id == *id) {
            let order = order.clone();
            return match self.judge_with_trades(intent, &order, outside)? {
                Ok(standing) => Ok(standing),
                Err(why) => open(why),
            };
        }
        // An order that was there before ours may be too old to be listed, and still be filled.
        let is_known = |trade: &Trade| {
            Some(trade.order_id) <= intent.newest_order
                || sighted.clone().any(|it| it.order_id == trade.order_id)
        };
        if let Some(trade) = trades.iter().find(|trade| !is_known(trade)) {
            return open(format!(
                "{why}, but a trade of {} {symbol} belongs to no order that is shown",
                trade.fill.quantity
            ));
        }
        match moved(intent, &shown, &trades, self.watch.pair.asset(leg).code()) {
            Some(moved) => open(format!("{why}, but the balance of {symbol} moved by {moved}")),
            None => Ok(self.settled(Outcome::Expired, None)),
        }
    }

    /// The standing of an order that is shown, or why there is none yet.
    fn judge_with_trades(
        &mut self,
        intent: &Intent,
        order: &OrderSeen,
        outside: &mut Outside,
    ) -> Result<Result<Standing, String>, Failure> {
        let verdict = self.judge(intent, order, None).map_err(too_large)?;
        let verdict = match verdict {
            Verdict::FillsMissing => {
                let fills = self.fills(intent, order.order_id, outside)?;
                self.judge(intent, order, Some(&fills)).map_err(too_large)?
            }
            verdict => verdict,
        };
        Ok(match verdict {
            Verdict::Final(outcome) => Ok(self.settled(outcome, Some(order.order_id))),
            Verdict::FillsMissing => {
                Err(format!("{} were executed, but the fills don't show yet", order.executed))
            }
            Verdict::Open => Err("the order is not over".to_owned()),
            Verdict::Unclear(why) => Ok(Standing::Unclear(why)),
        })
    }

    fn judge(
        &self,
        intent: &Intent,
        order: &OrderSeen,
        fills: Option<&[Fill]>,
    ) -> Result<Verdict, Overflow> {
        settlement::judge(intent, &self.watch.pair, order, fills)
    }

    fn settled(&self, outcome: Outcome, order_id: Option<u64>) -> Standing {
        Standing::Settled(Settled { outcome, order_id, at: self.now() })
    }

    fn fills(
        &mut self,
        intent: &Intent,
        order_id: u64,
        outside: &mut Outside,
    ) -> Result<Vec<Fill>, Failure> {
        let symbol = self.symbol(intent.ordered.leg);
        // Left unsaid it is 500: their sum would not be the order's, today or ever.
        let query = Query::new().with("symbol", &symbol).with("orderId", order_id);
        let query = query.with("limit", MOST_TRADES);
        let told = self.ask_one(Question::signed(TRADES_PATH, query), outside)?;
        let trades = self.read_trades(told, &symbol)?;
        let side = intent.ordered.plan.side;
        let ours = |trade: &Trade| trade.order_id == order_id && trade.side == side;
        Ok(trades.into_iter().filter(ours).map(|trade| trade.fill).collect())
    }

    fn exchange_time(&mut self, outside: &mut Outside) -> Result<Timestamp, Failure> {
        let (time, received) =
            match self.ask_one(Question::open(TIME_PATH, Query::new()), outside)? {
                Told::Answer(answer) => (super::wire::server_time(&answer.body), answer.received),
                Told::Code(_) => (None, self.binance.now()),
            };
        let time = time.ok_or_else(|| {
            Failure::unreachable(format!("{} does not tell the time", self.binance.host()))
        })?;
        self.offset_ms = time.millis_since(received);
        Ok(time)
    }

    /// The exchange's time, as far as it is known: for stamping requests.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.binance.now().plus_millis(self.offset_ms)
    }

    fn look(&mut self, outside: &mut Outside) -> Result<&Shown, Failure> {
        if self.shown.is_none() {
            let questions = self.account_questions();
            let asked = self.begin(&questions, outside)?;
            self.hear(asked, &questions, outside)?;
        }
        self.shown.as_ref().expect("it was just asked for").as_ref().map_err(Clone::clone)
    }

    /// What the exchange shows. A failure is kept as well: these questions weigh half of what a run
    /// may use, and the run ends with it anyway.
    fn hear(
        &mut self,
        asked: Asked,
        questions: &[Question],
        outside: &mut Outside,
    ) -> Result<(), Failure> {
        let told = self.finish(asked, questions, outside);
        let shown = told.and_then(|told| self.read_account(&told, outside));
        self.shown.insert(shown).as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn account_questions(&self) -> Vec<Question> {
        let symbols = Leg::BOTH.map(|leg| self.symbol(leg));
        let symbol = |leg: Leg| Query::new().with("symbol", self.symbol(leg));
        let orders = |leg: Leg| match self.seen.of(leg) {
            Some(id) => symbol(leg).with("orderId", id).with("limit", MOST_ORDERS),
            None => symbol(leg).with("limit", MOST_ORDERS),
        };
        let tickers = Query::new().with("symbols", super::binance::list(&symbols));
        let (path, rules) = Binance::rules_question(&symbols);
        vec![
            Question::signed(ACCOUNT_PATH, Query::new().with("omitZeroBalances", true)),
            Question::signed(OPEN_ORDERS_PATH, symbol(Leg::Numerator)),
            Question::signed(OPEN_ORDERS_PATH, symbol(Leg::Denominator)),
            Question::signed(ALL_ORDERS_PATH, orders(Leg::Numerator)),
            Question::signed(ALL_ORDERS_PATH, orders(Leg::Denominator)),
            Question::open(TICKER_PATH, tickers),
            Question::open(path, rules),
        ]
    }

    fn read_account(&mut self, told: &[Told], outside: &mut Outside) -> Result<Shown, Failure> {
        let answers: Vec<&Answer> = told
            .iter()
            .filter_map(|told| match told {
                Told::Answer(answer) => Some(answer),
                Told::Code(_) => None,
            })
            .collect();
        let [account, open_n, open_d, orders_n, orders_d, tickers, rules] = answers.as_slice()
        else {
            return Err(Failure::unreachable(format!("{} lacks answers", self.binance.host())));
        };
        // However far the local clock is off: what an earlier run left must be settled all the same.
        let at = account.date.unwrap_or_else(|| self.now());
        let answer = self.read(wire::account(&account.body))?;
        let pair = self.watch.pair.clone();
        let quote = answer.balance(pair.quote());
        let mut leg = |leg: Leg, open: &Answer, orders: &Answer| -> Result<LegAccount, Failure> {
            let symbol = self.symbol(leg);
            let base = answer.balance(pair.asset(leg));
            let orders = self.read(wire::orders(&orders.body, &symbol))?;
            Ok(LegAccount {
                free: base.free,
                total: Balances { base: base.total, quote: amount(quote.total)? },
                orders: self.rest_of(leg, orders, outside)?,
                open: self.read(wire::orders(&open.body, &symbol))?,
            })
        };
        let legs =
            [leg(Leg::Numerator, open_n, orders_n)?, leg(Leg::Denominator, open_d, orders_d)?];
        let symbols = Leg::BOTH.map(|leg| self.symbol(leg));
        let tickers = self.read(super::wire::book_tickers(&tickers.body, &symbols))?;
        let tickers = tickers.map(|ticker| self.read(ticker));
        let rules = self.binance.read_rules(&rules.body, &symbols, self.kind)?;
        let free_quote = amount(quote.free)?;
        let (uid, can_trade) = (answer.uid, answer.can_trade);
        // Another account would not know our orders, and that would be taken for an answer.
        if self.uid.is_some_and(|ours| ours != uid) {
            return Err(Failure::untrusted(
                format!(
                    "the book belongs to the account {}, but the key to {uid}",
                    self.uid.unwrap_or_default()
                ),
                "give the key of that account, or another `--state-dir`; the book was left alone",
            ));
        }
        Ok(Shown {
            account: Account { uid, can_trade, at, legs, free_quote },
            tickers,
            rules: rules.try_into().expect("both symbols have rules"),
        })
    }

    /// A full page is not the end of the list.
    fn rest_of(
        &mut self,
        leg: Leg,
        mut orders: Vec<OrderSeen>,
        outside: &mut Outside,
    ) -> Result<Vec<OrderSeen>, Failure> {
        // Without a beginning the newest were asked for, and those are all there.
        if self.seen.of(leg).is_none() {
            return Ok(orders);
        }
        let symbol = self.symbol(leg);
        let mut page = orders.len();
        for _ in 0..MOST_PAGES {
            let newest = orders.iter().map(|order| order.order_id).max();
            let Some(newest) = newest.filter(|_| page >= MOST_ORDERS) else { return Ok(orders) };
            let query = Query::new().with("symbol", &symbol).with("orderId", newest + 1);
            let question = Question::signed(ALL_ORDERS_PATH, query.with("limit", MOST_ORDERS));
            let Told::Answer(answer) = self.ask_one(question, outside)? else { break };
            let more = self.read(wire::orders(&answer.body, &symbol))?;
            page = more.len();
            orders.extend(more);
        }
        log::warn!("{symbol} has more orders since the last look than one run can ask for");
        Ok(orders)
    }

    fn ask_one(&mut self, question: Question, outside: &mut Outside) -> Result<Told, Failure> {
        let questions = [question];
        let asked = self.begin(&questions, outside)?;
        let mut told = self.finish(asked, &questions, outside)?;
        Ok(told.pop().expect("one question has one answer"))
    }

    fn begin<'a>(
        &self,
        questions: impl IntoIterator<Item = &'a Question>,
        outside: &Outside,
    ) -> Result<Asked, Failure> {
        let key = self.credentials.as_ref().map_err(Clone::clone)?;
        let request = |question: &Question| {
            let query = question.query.clone();
            if question.is_signed {
                let query = query.signed(key, self.now().as_millis(), self.recv_window_ms);
                Request::get(self.binance.url(question.path, &query)).with_key(key.header())
            } else {
                Request::get(self.binance.url(question.path, &query.unsigned()))
            }
        };
        self.binance.begin(questions.into_iter().map(request).collect(), outside)
    }

    /// The answers. Where our clock was wrong it is set, and what came too late is asked once more.
    fn finish(
        &mut self,
        asked: Asked,
        questions: &[Question],
        outside: &mut Outside,
    ) -> Result<Vec<Told>, Failure> {
        let mut answers = self.binance.finish(asked, outside)?;
        let is_late = |answer: &anyhow::Result<Answer>| {
            let error = answer.as_ref().ok().and_then(read_error);
            error.is_some_and(|error| error.code == OUT_OF_TIME)
        };
        let late: Vec<usize> = (0..answers.len()).filter(|at| is_late(&answers[*at])).collect();
        if !late.is_empty() {
            let time =
                self.binance.begin(vec![Request::get(self.binance.url(TIME_PATH, ""))], outside)?;
            let time = self.binance.finish(time, outside)?.pop();
            let answer = time.and_then(Result::ok).ok_or_else(|| {
                Failure::unreachable(format!("{} does not tell the time", self.binance.host()))
            })?;
            if let Some(time) = super::wire::server_time(&answer.body) {
                self.offset_ms = time.millis_since(answer.received);
                outside.memory.clock_offset_ms = Some(self.offset_ms);
            }
            let asked = self.begin(late.iter().map(|at| &questions[*at]), outside)?;
            for (at, answer) in late.into_iter().zip(self.binance.finish(asked, outside)?) {
                answers[at] = answer;
            }
        }
        let told = answers.into_iter().zip(questions);
        told.map(|(answer, question)| self.told(answer, question)).collect()
    }

    fn told(&self, answer: anyhow::Result<Answer>, question: &Question) -> Result<Told, Failure> {
        // Without the query: that of a signed question can be sent again while its window lasts.
        let asked = format!("{} was asked for {}", self.binance.host(), question.path);
        let answer = answer.map_err(|error| Failure::unreachable(format!("{asked}: {error:#}")))?;
        log::debug!("{asked}: {} with {} bytes", answer.status, answer.body.len());
        if answer.status == 200 {
            return Ok(Told::Answer(answer));
        }
        let status = answer.status;
        if question.path == RESTRICTIONS_PATH && status == 404 {
            return Ok(Told::Code(0));
        }
        let Some(error) = read_error(&answer) else {
            return Err(Failure::unreachable(format!("{asked}: HTTP {status}")));
        };
        let said = format!("{asked}: HTTP {status}, code {}, {}", error.code, plain(&error.msg));
        match error.code {
            ARCHIVED | NO_SUCH_ORDER => Ok(Told::Code(error.code)),
            -1002 | -1022 | -2014 | -2015 => {
                Err(Failure::new(failure::Kind::KeyRefused, said, KEY_HINT))
            }
            _ => Err(Failure::unreachable(said)),
        }
    }

    fn read<T>(&self, read: Result<T, String>) -> Result<T, Failure> {
        read.map_err(|why| Failure::unreachable(format!("{}: {why}", self.binance.host())))
    }

    fn read_trades(&self, told: Told, symbol: &str) -> Result<Vec<Trade>, Failure> {
        match told {
            Told::Answer(answer) => self.read(wire::trades(&answer.body, symbol)),
            Told::Code(code) => self.read(Err(format!("trades were answered with code {code}"))),
        }
    }

    fn symbol(&self, leg: Leg) -> String {
        self.watch.pair.symbol(leg).code()
    }
}

fn order_query(symbol: &str, intent: &Intent) -> Query {
    let Plan { side, size, limit } = intent.ordered.plan;
    let query = Query::new().with("symbol", symbol).with("side", side);
    let query = query.with("type", intent.ordered.plan.kind().name());
    let query = match limit {
        Some(limit) => query.with("timeInForce", "IOC").with("price", limit),
        None => query,
    };
    let query = match size {
        Size::Base(quantity) => query.with("quantity", quantity.value().normalize()),
        Size::Quote(amount) => query.with("quoteOrderQty", amount.value().normalize()),
    };
    query.with("newClientOrderId", &intent.client_order_id).with("newOrderRespType", "FULL")
}

/// By how much the base asset moved the way this order would have moved it, beyond what trades of
/// other orders explain.
///
/// A trade of the second before the order may be in what the account held before, or not: account
/// and orders were read at the same time, but not by one look. Either is an explanation.
fn moved(intent: &Intent, shown: &LegAccount, trades: &[Trade], base: &str) -> Option<String> {
    let was_listed = |trade: &Trade| Some(trade.order_id) <= intent.newest_order;
    let moved = |counts: &dyn Fn(&Trade) -> bool| {
        let now = shown.total.base.value();
        let mut expected = intent.before.base.value();
        for trade in trades.iter().filter(|trade| counts(trade)) {
            let quantity = trade.fill.quantity.value();
            let signed = match trade.side {
                Side::Buy => quantity,
                Side::Sell => -quantity,
            };
            let fee =
                if trade.fill.fee_asset.code() == base { trade.fill.fee.value() } else { 0.into() };
            // Bounded by the account's own balances, far below what a decimal holds.
            expected = expected.checked_add(signed)?.checked_sub(fee)?;
        }
        let change = now.checked_sub(expected)?;
        let is_ours = match intent.ordered.plan.side {
            Side::Buy => change.is_sign_positive() && !change.is_zero(),
            Side::Sell => change.is_sign_negative() && !change.is_zero(),
        };
        is_ours.then(|| change.to_string())
    };
    moved(&|_| true).and(moved(&|trade| !was_listed(trade)))
}

/// An answer's `Date` is cut to the second, so our clock may be right where it seems behind by
/// less than one.
fn likely_offset(offset_ms: i64) -> i64 {
    if (-1000..=0).contains(&offset_ms) { 0 } else { offset_ms.saturating_add(500) }
}

fn amount(quantity: Quantity) -> Result<Amount, Failure> {
    Amount::new(quantity.value()).ok_or_else(|| too_large(Overflow))
}

fn too_large(overflow: Overflow) -> Failure {
    Failure::unreachable(format!("the exchange's numbers: {overflow}"))
}

fn read_error(answer: &Answer) -> Option<ApiError> {
    serde_json::from_slice(&answer.body).ok()
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

const ACCOUNT_PATH: &str = "/api/v3/account";
const ALL_ORDERS_PATH: &str = "/api/v3/allOrders";
const OPEN_ORDERS_PATH: &str = "/api/v3/openOrders";
const ORDER_PATH: &str = "/api/v3/order";
const RESTRICTIONS_PATH: &str = "/sapi/v1/account/apiRestrictions";
const TICKER_PATH: &str = "/api/v3/ticker/bookTicker";
const TIME_PATH: &str = "/api/v3/time";
const TRADES_PATH: &str = "/api/v3/myTrades";
const FORM: &str = "application/x-www-form-urlencoded";

// **Source**: Binance Spot REST, "Error codes".
const OUT_OF_TIME: i64 = -1021;
const NO_SUCH_ORDER: i64 = -2013;
const ARCHIVED: i64 = -2026;

/// The most that one page of orders has.
const MOST_ORDERS: usize = 1000;
const MOST_PAGES: usize = 5;
/// The most that one page of trades has.
const MOST_TRADES: usize = 1000;

/// How often an order is asked for before the run ends.
const ASKED: u32 = 3;
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(1);
/// More than the 10 s after which the exchange itself gives up on its engine.
const ORDER: Duration = Duration::from_secs(13);

const KEY_HINT: &str = "look at the key's rights and its list of addresses at the exchange, and at \
     `BINANCE_API_KEY` with its secret; `ouroboros check` tries them one by one";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trading::market::Asset;
    use crate::trading::money::Price;
    use crate::trading::order::Purpose;

    fn coins(text: &str) -> Quantity {
        Quantity::new(text.parse().expect("a number")).expect("a quantity")
    }

    /// An order for 0.03 ETH, where the account held one and had seen orders up to the tenth.
    fn intent(side: Side) -> Intent {
        let plan = Plan { side, size: Size::Base(coins("0.03")), limit: None };
        let purpose = Purpose::Exit { cools: false };
        Intent {
            client_order_id: "ouro-0123456789-1-S0".to_owned(),
            candle: Timestamp::EPOCH,
            ordered: Ordered { leg: Leg::Denominator, purpose, plan },
            touch: Touch {
                price: Price::new(3100.into()).expect("a price"),
                rules: SymbolRules::unlimited(),
            },
            timestamp: Timestamp::EPOCH,
            recv_window_ms: 5000,
            before: Balances { base: coins("1"), quote: Amount::ZERO },
            newest_order: Some(10),
        }
    }

    /// `11+0.1~0.001 ETH`: order, bought or sold, and the fee.
    fn trade(text: &str) -> Trade {
        let at = text.find(['+', '-']).expect("a direction");
        let (order_id, rest) = text.split_at(at);
        let (quantity, fee) = rest[1..].split_once('~').expect("a fee");
        let (fee, asset) = fee.split_once(' ').expect("its asset");
        Trade {
            order_id: order_id.parse().expect("a number"),
            side: if rest.starts_with('+') { Side::Buy } else { Side::Sell },
            fill: Fill {
                quantity: coins(quantity),
                quote: Amount::ZERO,
                fee: coins(fee),
                fee_asset: Asset::new(asset).expect("an asset"),
            },
        }
    }

    #[test]
    fn a_balance_is_a_trace_of_an_order_only_where_it_moved_its_way_without_a_reason() {
        let (bought, sold) = (Some(Side::Buy), Some(Side::Sell));
        // What the account holds now of the one coin, trades since, and an order of which side has
        // left a trace in it.
        let rows: [(&str, &[&str], Option<Side>); 17] = [
            ("1", &[], None),
            ("1.03", &[], bought),
            ("1.00000001", &[], bought),
            ("0.97", &[], sold),
            ("0", &[], sold),
            // The owner's own trades of a later order explain exactly what they did.
            ("1.1", &["11+0.1~0 BNB"], None),
            ("0.9", &["11-0.1~0 BNB"], None),
            ("1.13", &["11+0.1~0 BNB"], bought),
            ("0.87", &["11-0.1~0 BNB"], sold),
            ("1", &["11+0.1~0 BNB"], sold),
            ("1", &["11-0.1~0 BNB"], bought),
            ("1", &["11+0.1~0 BNB", "12-0.1~0 USDT"], None),
            // A fee counts where it was taken out of the coins.
            ("1.099", &["11+0.1~0.001 ETH"], None),
            ("0.899", &["11-0.1~0.001 ETH"], None),
            ("1.1", &["11+0.1~0.001 BNB"], None),
            ("1.1", &["11+0.1~0.001 ETH"], bought),
            ("0.9", &["11-0.1~0.001 ETH"], bought),
        ];
        for (now, trades, trace) in rows {
            for side in [Side::Buy, Side::Sell] {
                let found = moved_of(side, Some(10), now, trades);
                assert_eq!(
                    found.is_some(),
                    trace == Some(side),
                    "{side}: {now} {trades:?} {found:?}"
                );
            }
        }
        assert_eq!(moved_of(Side::Sell, Some(10), "0.97", &[]).as_deref(), Some("-0.03"));
    }

    #[test]
    fn a_trade_of_right_before_the_order_is_in_the_balance_or_not_and_either_explains_it() {
        // The tenth order was shown before ours was made: its trades may have been counted.
        let rows: [(&str, &str, Option<Side>); 8] = [
            ("1", "10+0.1~0 BNB", None),
            ("1.1", "10+0.1~0 BNB", None),
            ("1.13", "10+0.1~0 BNB", Some(Side::Buy)),
            ("0.97", "10+0.1~0 BNB", Some(Side::Sell)),
            ("1", "10-0.1~0 BNB", None),
            ("0.9", "10-0.1~0 BNB", None),
            ("1.03", "10-0.1~0 BNB", Some(Side::Buy)),
            ("0.87", "10-0.1~0 BNB", Some(Side::Sell)),
        ];
        for (now, trade, trace) in rows {
            for side in [Side::Buy, Side::Sell] {
                let is_trace = moved_of(side, Some(10), now, &[trade]).is_some();
                assert_eq!(is_trace, trace == Some(side), "{side}: {now} {trade}");
            }
        }
        // Where no order had been seen, each trade came later.
        assert!(moved_of(Side::Sell, None, "1", &["10+0.1~0 BNB"]).is_some());
        assert!(moved_of(Side::Sell, Some(9), "1", &["10+0.1~0 BNB"]).is_some());
    }

    fn moved_of(
        side: Side,
        newest_order: Option<u64>,
        now: &str,
        trades: &[&str],
    ) -> Option<String> {
        let total = Balances { base: coins(now), quote: Amount::ZERO };
        let shown = LegAccount { free: total.base, total, orders: Vec::new(), open: Vec::new() };
        let trades: Vec<Trade> = trades.iter().map(|text| trade(text)).collect();
        moved(&Intent { newest_order, ..intent(side) }, &shown, &trades, "ETH")
    }

    #[test]
    fn a_clock_that_seems_behind_by_less_than_a_second_may_be_right() {
        for (seems, is) in [(0, 0), (-1, 0), (-1000, 0), (-1001, -501), (1, 501), (7000, 7500)] {
            assert_eq!(likely_offset(seems), is, "{seems}");
        }
        assert_eq!(likely_offset(i64::MAX), i64::MAX);
    }

    #[test]
    fn what_the_exchange_says_is_repeated_plain_and_not_at_length() {
        assert_eq!(plain("Filter failure:\u{1b}[31m\nNOTIONAL"), "Filter failure:[31mNOTIONAL");
        assert_eq!(plain(&"x".repeat(1000)), "x".repeat(200));
    }

    #[test]
    fn an_order_is_written_as_the_exchange_takes_it() {
        let query = |size, limit| {
            let mut intent = intent(Side::Buy);
            intent.ordered.plan.size = size;
            intent.ordered.plan.limit = limit;
            order_query("ETHUSDT", &intent).unsigned()
        };
        let amount = Amount::new("150.50".parse().expect("a number")).expect("an amount");
        let rest = "newClientOrderId=ouro-0123456789-1-S0&newOrderRespType=FULL";
        assert_eq!(
            query(Size::Quote(amount), None),
            format!("symbol=ETHUSDT&side=BUY&type=MARKET&quoteOrderQty=150.5&{rest}")
        );
        assert_eq!(
            query(Size::Base(coins("0.0300")), Price::new("3100.10".parse().expect("a number"))),
            format!(
                "symbol=ETHUSDT&side=BUY&type=LIMIT&timeInForce=IOC&price=3100.1&quantity=0.03&{rest}"
            )
        );
    }
}
