//! Owns the grammar of conditions, and compiles them.
//!
//! ```text
//! any        = all { "or" all }
//! all        = one { "and" one }
//! one        = "not" one | "(" any ")" | comparison
//! comparison = counter sign number | fact sign value
//! counter    = "count" "(" ( "attempt" | "purchase" | "declined" | "expired" ) "by" thing "last" duration ")"
//!            | "distinct" "(" ( "card_token" | "user" ) "by" thing "last" duration ")"
//!            | "amount" "(" "captured" "by" "user" "last" duration ")"
//! fact       = "amount" | "quantity" | "risk_score" | "account_age" | "currency" | "segment"
//! ```
//!
//! Invariants: nesting, comparisons, windows and thresholds are bounded; a comparison's two sides
//! are of one kind; what is compiled leads only forward.

use super::lexer::{Token, Wrong, tokens, wrong};
use super::{NESTING_MAX, TESTS_A_RULE_MAX};
use crate::engine::counter::{By, Counted, Counter, THRESHOLD_MAX, WINDOW_MS_MAX, WINDOW_MS_MIN};
use crate::engine::risk::program::{Compare, NextTest, Probe, Test};
use crate::ids::Segment;
use crate::money::Currency;

/// The tests that `text` stands for.
pub(super) fn compile(text: &str) -> Result<Vec<Test>, Wrong> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        place: 0,
        nesting: 0,
        tests: 0,
    };
    let any = parser.any()?;
    let (at, token) = parser.next();
    if token != Token::End {
        let found = token.named();
        return wrong(
            at,
            expected_word(
                &token,
                &["and", "or"],
                &format!("`and`, `or` or the end, found {found}"),
            ),
        );
    }
    let mut out = Vec::with_capacity(parser.tests);
    emit(&any, NextTest::Hit, NextTest::Miss, &mut out);
    Ok(out)
}

enum SyntaxNode {
    Test(Probe, Compare),
    Not(Box<SyntaxNode>),
    All(Vec<SyntaxNode>),
    Any(Vec<SyntaxNode>),
}

fn tests_in(node: &SyntaxNode) -> usize {
    match node {
        SyntaxNode::Test(..) => 1,
        SyntaxNode::Not(inner) => tests_in(inner),
        SyntaxNode::All(parts) | SyntaxNode::Any(parts) => parts.iter().map(tests_in).sum(),
    }
}

/// Appends the tests of `node`, which lead to `yes` or `no`.
fn emit(node: &SyntaxNode, yes: NextTest, no: NextTest, out: &mut Vec<Test>) {
    match node {
        SyntaxNode::Test(probe, compare) => out.push(Test {
            probe: probe.clone(),
            compare: *compare,
            yes,
            no,
        }),
        SyntaxNode::Not(inner) => emit(inner, no, yes, out),
        SyntaxNode::All(parts) => {
            for (place, part) in parts.iter().enumerate() {
                let on = behind(part, place + 1 == parts.len(), out, yes);
                emit(part, on, no, out);
            }
        }
        SyntaxNode::Any(parts) => {
            for (place, part) in parts.iter().enumerate() {
                let on = behind(part, place + 1 == parts.len(), out, no);
                emit(part, yes, on, out);
            }
        }
    }
}

/// Where the part behind `part` begins, or `end` behind the last.
fn behind(part: &SyntaxNode, is_last: bool, out: &[Test], end: NextTest) -> NextTest {
    if is_last {
        return end;
    }
    let place = out.len() + tests_in(part);
    NextTest::Test(u16::try_from(place).expect("a condition has few tests"))
}

struct Parser<'a> {
    tokens: Vec<(usize, Token<'a>)>,
    place: usize,
    nesting: usize,
    tests: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &(usize, Token<'a>) {
        &self.tokens[self.place]
    }

    /// The next token; the end again and again.
    fn next(&mut self) -> (usize, Token<'a>) {
        let token = self.tokens[self.place].clone();
        self.place = (self.place + 1).min(self.tokens.len() - 1);
        token
    }

    fn takes(&mut self, word: &str) -> bool {
        let there = self.peek().1 == Token::Word(word);
        if there {
            self.next();
        }
        there
    }

    fn any(&mut self) -> Result<SyntaxNode, Wrong> {
        let first = self.all()?;
        let mut parts = vec![first];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Ok(several(parts, SyntaxNode::Any))
    }

    fn all(&mut self) -> Result<SyntaxNode, Wrong> {
        let first = self.one()?;
        let mut parts = vec![first];
        while self.takes("and") {
            parts.push(self.one()?);
        }
        Ok(several(parts, SyntaxNode::All))
    }

    fn one(&mut self) -> Result<SyntaxNode, Wrong> {
        let at = self.peek().0;
        if self.takes("not") {
            return self.deeper(at, |parser| Ok(SyntaxNode::Not(Box::new(parser.one()?))));
        }
        if self.peek().1 == Token::Open {
            self.next();
            return self.deeper(at, |parser| {
                let inner = parser.any()?;
                parser.expect(&Token::Close, "`)`")?;
                Ok(inner)
            });
        }
        self.tests += 1;
        if self.tests > TESTS_A_RULE_MAX {
            let message = format!("a condition has at most {TESTS_A_RULE_MAX} comparisons");
            return wrong(at, message);
        }
        self.comparison()
    }

    fn deeper(
        &mut self,
        at: usize,
        inner: impl FnOnce(&mut Self) -> Result<SyntaxNode, Wrong>,
    ) -> Result<SyntaxNode, Wrong> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("parentheses and `not` nest at most {NESTING_MAX} deep");
            return wrong(at, message);
        }
        let node = inner(self)?;
        self.nesting -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<SyntaxNode, Wrong> {
        const SUBJECTS: [&str; 8] = [
            "count",
            "distinct",
            "amount",
            "quantity",
            "risk_score",
            "account_age",
            "currency",
            "segment",
        ];
        let (at, token) = self.next();
        let calls = self.peek().1 == Token::Open;
        match token {
            Token::Word("count") => {
                use Counted::{Attempt, Declined, Expired, Purchase};
                self.count(&[Attempt, Purchase, Declined, Expired])
            }
            Token::Word("distinct") => self.count(&[Counted::Card, Counted::User]),
            Token::Word("amount") if calls => self.captured(),
            Token::Word("amount") => self.number(Probe::Amount),
            Token::Word("quantity") => self.number(Probe::Quantity),
            Token::Word("risk_score") => self.number(Probe::RiskScore),
            Token::Word("account_age") => self.age(),
            Token::Word("currency") => self.text("an ISO 4217 code such as \"USD\"", |text| {
                Currency::parse(text).map(Probe::Currency)
            }),
            Token::Word("segment") => self.text("a segment's name in quotes", |text| {
                Segment::parse(text).map(Probe::Segment)
            }),
            other => {
                let found = other.named();
                let what = format!("a counter, a fact, `not` or `(`, found {found}");
                wrong(at, expected_word(&other, &SUBJECTS, &what))
            }
        }
    }

    /// `(` what `by` thing `last` duration `)` sign number.
    fn count(&mut self, kinds: &[Counted]) -> Result<SyntaxNode, Wrong> {
        self.expect(&Token::Open, "`(`")?;
        let words: Vec<&str> = kinds.iter().map(|it| it.as_str()).collect();
        let (place, _) = self.one_of(&words)?;
        let counted = kinds[place];
        self.one_of(&["by"])?;
        let allowed = By::ALL.into_iter();
        let allowed: Vec<Counter> = allowed.filter_map(|by| Counter::new(counted, by)).collect();
        let words: Vec<&str> = allowed.iter().map(|it| it.by().as_str()).collect();
        let (place, _) = self.one_of(&words)?;
        let chosen = allowed[place];
        let window_ms = self.window()?;
        let compare = self.compare()?;
        let (than_at, than) = self.integer()?;
        if than > THRESHOLD_MAX {
            let message = format!("a counter is compared with at most {THRESHOLD_MAX}");
            return wrong(than_at, message);
        }
        let probe = Probe::Count {
            counter: chosen,
            window_ms,
            than,
        };
        Ok(SyntaxNode::Test(probe, compare))
    }

    fn captured(&mut self) -> Result<SyntaxNode, Wrong> {
        self.expect(&Token::Open, "`(`")?;
        self.one_of(&["captured"])?;
        self.one_of(&["by"])?;
        self.one_of(&["user"])?;
        let window_ms = self.window()?;
        let compare = self.compare()?;
        let (_, than) = self.integer()?;
        Ok(SyntaxNode::Test(
            Probe::Captured { window_ms, than },
            compare,
        ))
    }

    /// `last` duration `)`.
    fn window(&mut self) -> Result<u64, Wrong> {
        self.one_of(&["last"])?;
        let (at, token) = self.next();
        let Token::Duration(window_ms) = token else {
            let found = token.named();
            return wrong(
                at,
                format!("expected a duration such as 10m, found {found}"),
            );
        };
        if !(WINDOW_MS_MIN..=WINDOW_MS_MAX).contains(&window_ms) {
            return wrong(at, "expected a window from 10s to 30d");
        }
        self.expect(&Token::Close, "`)`")?;
        Ok(window_ms)
    }

    fn number(&mut self, probe: impl FnOnce(i64) -> Probe) -> Result<SyntaxNode, Wrong> {
        let compare = self.compare()?;
        let (_, than) = self.integer()?;
        Ok(SyntaxNode::Test(probe(than), compare))
    }

    fn age(&mut self) -> Result<SyntaxNode, Wrong> {
        let compare = self.compare()?;
        let (at, token) = self.next();
        let Token::Duration(ms) = token else {
            let found = token.named();
            return wrong(at, format!("expected a duration such as 7d, found {found}"));
        };
        let ms = i64::try_from(ms).expect("the lexer takes no longer durations");
        Ok(SyntaxNode::Test(Probe::AccountAge(ms), compare))
    }

    fn text(
        &mut self,
        expected: &str,
        probe: impl FnOnce(&str) -> Option<Probe>,
    ) -> Result<SyntaxNode, Wrong> {
        let compare_at = self.peek().0;
        let compare = self.compare()?;
        if !matches!(compare, Compare::Equal | Compare::Unequal) {
            return wrong(compare_at, "expected `==` or `!=`: texts have no order");
        }
        let (at, token) = self.next();
        let Token::Text(text) = token else {
            let found = token.named();
            return wrong(at, format!("expected {expected}, found {found}"));
        };
        match probe(text) {
            Some(probe) => Ok(SyntaxNode::Test(probe, compare)),
            None => wrong(at, format!("expected {expected}")),
        }
    }

    fn compare(&mut self) -> Result<Compare, Wrong> {
        let (at, token) = self.next();
        match token {
            Token::Compare(compare) => Ok(compare),
            other => {
                let found = other.named();
                wrong(at, format!("expected == != < <= > or >=, found {found}"))
            }
        }
    }

    fn integer(&mut self) -> Result<(usize, i64), Wrong> {
        let (at, token) = self.next();
        match token {
            Token::Integer(number) => Ok((at, number)),
            other => wrong(at, format!("expected a number, found {}", other.named())),
        }
    }

    fn expect(&mut self, wanted: &Token<'_>, named: &str) -> Result<(), Wrong> {
        let (at, token) = self.next();
        if token == *wanted {
            return Ok(());
        }
        wrong(at, format!("expected {named}, found {}", token.named()))
    }

    /// One of `words`; which, and where it stands.
    fn one_of(&mut self, words: &[&str]) -> Result<(usize, usize), Wrong> {
        let (at, token) = self.next();
        if let Token::Word(word) = token
            && let Some(place) = words.iter().position(|known| *known == word)
        {
            return Ok((place, at));
        }
        let listed: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let what = format!("{}, found {}", listed.join(" or "), token.named());
        wrong(at, expected_word(&token, words, &what))
    }
}

fn several(
    mut parts: Vec<SyntaxNode>,
    all: impl FnOnce(Vec<SyntaxNode>) -> SyntaxNode,
) -> SyntaxNode {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return only;
    }
    all(parts)
}

/// "expected …", and for a word the nearest that is known.
fn expected_word(token: &Token<'_>, known: &[&str], what: &str) -> String {
    let mut message = format!("expected {what}");
    if let Token::Word(word) = token
        && let Some(near) = nearest(word, known)
    {
        message.push_str("; did you mean `");
        message.push_str(near);
        message.push_str("`?");
    }
    message
}

/// The known word that looks most like `word`, unless none does.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(word, known);
    let best = known
        .iter()
        .copied()
        .max_by(|one, two| likeness(one).total_cmp(&likeness(two)))?;
    (likeness(best) >= 0.4).then_some(best)
}
