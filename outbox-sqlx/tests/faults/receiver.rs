//! The receiving side, outside of every dispatcher: records each delivery and answers it, and hears what each
//! dispatcher says of its session.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use outbox_core::MessageId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// A line of a connection: who speaks, then what it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The first line.
    Iam(String),
    /// A message; the next line from here is the [`Answer`].
    Delivery { id: Uuid, key: i64, number: i64, attempt: u32, in_doubt: bool, epoch: i64 },
    /// The session was started or kept. `lapsed`: the one before had run out or was taken away.
    Renewed { epoch: i64, slots: usize, lapsed: bool },
    /// A settlement, asked for then, was written.
    Settled { epoch: i64, asked: SystemTime },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Accepted.
    Accept,
    /// This message is refused, for now.
    Fail,
    /// The destination is down.
    Down,
    /// The process dies of it.
    Die,
}

/// A delivery as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) id: MessageId,
    pub(crate) key: i64,
    pub(crate) number: i64,
    pub(crate) attempt: u32,
    pub(crate) in_doubt: bool,
    #[expect(dead_code, reason = "for the text of a failure")]
    pub(crate) by: String,
    pub(crate) epoch: i64,
    pub(crate) at: Instant,
    pub(crate) answer: Answer,
}

/// A settlement that a dispatcher saw written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    pub(crate) epoch: i64,
    pub(crate) asked: SystemTime,
}

/// The session of a dispatcher, as it said last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) epoch: i64,
    pub(crate) slots: usize,
}

type Rule = Box<dyn Fn(&Arrival) -> Answer + Send>;

struct Book {
    arrivals: Vec<Arrival>,
    accepted: HashSet<MessageId>,
    settled: Vec<Settled>,
    standings: HashMap<String, Standing>,
    lapses: usize,
    rule: Rule,
    /// A kill may strike between an arrival and its answer.
    answer_after: Duration,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Receiver {
    /// Accepts everything until told otherwise.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let book = Book {
            arrivals: Vec::new(),
            accepted: HashSet::new(),
            settled: Vec::new(),
            standings: HashMap::new(),
            lapses: 0,
            rule: Box::new(|_| Answer::Accept),
            answer_after: Duration::from_millis(3),
        };
        let receiver = Self { address: listener.local_addr().unwrap(), book: Arc::new(Mutex::new(book)) };
        let answering = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = answering.clone();
                // An error is the end of the process at the other end.
                tokio::spawn(async move { receiver.hear(stream).await.ok() });
            }
        });
        receiver
    }

    async fn hear(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut who = String::new();
        while let Some(line) = lines.next_line().await? {
            // The last line of a process that was killed may be cut off.
            let Ok(said) = serde_json::from_str(&line) else { continue };
            if let Some(answer) = self.take(&mut who, said) {
                let after = self.book().answer_after;
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                let mut answer = serde_json::to_vec(&answer)?;
                answer.push(b'\n');
                write.write_all(&answer).await?;
            }
        }
        Ok(())
    }

    fn take(&self, who: &mut String, said: Said) -> Option<Answer> {
        let mut book = self.book();
        match said {
            Said::Iam(name) => *who = name,
            Said::Delivery { id, key, number, attempt, in_doubt, epoch } => {
                let (id, by, at) = (id.into(), who.clone(), Instant::now());
                let answer = Answer::Accept;
                let mut arrival = Arrival { id, key, number, attempt, in_doubt, by, epoch, at, answer };
                arrival.answer = (book.rule)(&arrival);
                let answer = arrival.answer;
                if answer == Answer::Accept {
                    book.accepted.insert(id);
                }
                book.arrivals.push(arrival);
                return Some(answer);
            }
            Said::Renewed { epoch, slots, lapsed } => {
                book.lapses += usize::from(lapsed);
                book.standings.insert(who.clone(), Standing { epoch, slots });
            }
            Said::Settled { epoch, asked } => book.settled.push(Settled { epoch, asked }),
        }
        None
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// How to answer from now on.
    pub(crate) fn answer(&self, rule: impl Fn(&Arrival) -> Answer + Send + 'static) {
        self.book().rule = Box::new(rule);
    }

    /// How long it takes to answer from now on; 3 ms unless set.
    pub(crate) fn answer_after(&self, time: Duration) {
        self.book().answer_after = time;
    }

    /// Everything that arrived, in its order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.book().arrivals.clone()
    }

    /// How many different messages were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.book().accepted.len()
    }

    pub(crate) fn settled(&self) -> Vec<Settled> {
        self.book().settled.clone()
    }

    /// What dispatcher `name` said last of its session.
    pub(crate) fn standing(&self, name: &str) -> Option<Standing> {
        self.book().standings.get(name).copied()
    }

    /// How often a dispatcher lost its lease, or was late to renew it.
    pub(crate) fn lapses(&self) -> usize {
        self.book().lapses
    }
}
