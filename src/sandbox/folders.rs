//! Landlock: nothing of the file system but what is needed, nothing of the network, nobody else's processes.
//!
//! Handled, and so forbidden, is all that the kernel has a right for, up to the newest ABI that is known here: files and
//! folders, with ABI 4 TCP, with ABI 5 ioctls of devices, with ABI 6 signals and abstract sockets to the outside. An older
//! kernel handles what it can, which is logged. Looking (stat, readlink, inotify) is not handled by any of them.
//!
//! A right is of a folder *and all below it*, by inode: a folder that is removed and made anew has none.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use log::info;
use thiserror::Error;

use super::Needs;

/// The newest that is known here: what its rights mean was read, and each is forbidden.
const NEWEST: ABI = ABI::V10;

/// Why there is no Landlock.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel refuses the first of its rights.
    #[error("this kernel does not have it, or was told not to use it (lsm= on its command line)")]
    Absent,
    /// It did not work out.
    #[error("{0}")]
    Ruleset(#[from] RulesetError),
}

/// The rules to be enforced.
#[derive(Debug)]
pub struct Folders(RulesetCreated);

impl Folders {
    /// Makes the rules. A folder that can't be found gets none: whoever needs it will say so.
    ///
    /// # Errors
    /// The kernel has no Landlock at all, or fails.
    pub fn prepare(needs: &Needs) -> Result<Self, Error> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(ABI::V1))
            .map_err(|_| Error::Absent)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?;
        let opening = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
        let removing = BitFlags::from(AccessFs::RemoveFile);
        let reading = AccessFs::ReadFile | AccessFs::ReadDir;
        let opens = needs.opens_in.iter().map(|folder| (folder, opening));
        let removes = needs.removes_in.iter().map(|folder| (folder, removing));
        let reads = needs
            .reads
            .iter()
            .map(|folder| (folder, if folder.is_dir() { reading } else { AccessFs::ReadFile.into() }));
        let lists = needs.lists.iter().map(|folder| (folder, AccessFs::ReadDir.into()));
        for (folder, access) in opens.chain(removes).chain(reads).chain(lists) {
            if let Ok(folder) = PathFd::new(folder) {
                rules = rules.add_rule(PathBeneath::new(folder, access))?;
            }
        }
        Ok(Self(rules))
    }

    /// Gives up, in this thread, all that the rules do not allow.
    ///
    /// # Errors
    /// The kernel failed.
    pub fn restrict(self) -> Result<(), Error> {
        let status = self.0.restrict_self()?;
        match (status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, _) => return Err(Error::Absent),
            (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
                info!("sandbox: Landlock is of ABI {effective_abi:?} here; what {NEWEST:?} has more is not forbidden");
            }
            _ => {}
        }
        Ok(())
    }
}
